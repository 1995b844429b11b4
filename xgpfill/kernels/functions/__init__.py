"""Covariance functions that need a module of their own; the others are in :mod:`xgpfill.kernels.evaluate`."""
