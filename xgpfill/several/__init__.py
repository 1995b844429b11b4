"""Several variables: side by side, as a vector, or jointly."""
