"""Neighbours, sparse factors and local conditionals."""
