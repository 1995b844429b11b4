"""Between a DataArray and its lattice: dimensions, axes, independent fields, there and back."""
