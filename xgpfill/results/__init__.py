"""What is given back: fields with their uncertainty, and what follows from them."""
