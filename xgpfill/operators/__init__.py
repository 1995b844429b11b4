"""Linear algebra of covariances on lattices and points that knows no xarray."""
