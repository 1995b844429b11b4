"""Levels of depth, height or pressure: which dimension they are of, where they lie, and what is usual at each."""
