"""Rows of a lattice that are parts of one another: joint variables, and levels of depth."""
