"""Several variables fitted together: what they share (coupling), how that is fitted, and what comes out (model)."""
