"""Terms that vary with depth as well: kernels of space times one of depth."""
