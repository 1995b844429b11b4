"""Linear algebra that knows no xarray."""
