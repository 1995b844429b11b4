"""The linear system of a lattice, and the variances of its cells."""
