"""How coordinates and variables are read, and answers are named, after CF."""
