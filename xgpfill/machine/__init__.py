"""Threads, compiled loops and interruptions."""
