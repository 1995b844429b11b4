"""What is drawn of a field: which frame, where its cells lie, which is nearest. Nothing is drawn here."""
