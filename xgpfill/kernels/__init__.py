"""Kernels and priors: as frozen data, and evaluated."""
