"""Engines: ways to condition a Gaussian prior on observations."""
