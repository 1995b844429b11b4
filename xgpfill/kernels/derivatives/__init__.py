"""Kernels whose derivatives in their hyperparameters are written out, for learning."""
