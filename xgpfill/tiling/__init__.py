"""Tiles: which cells each is responsible for, what it is told about the rest, and how tiles become one field."""
