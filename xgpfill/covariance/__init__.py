"""Kernels and priors evaluated: between points, by lag, as formulas of compiled loops."""
