"""The grid layer: dimensions, metric, scaling, lattice. No torch here."""
