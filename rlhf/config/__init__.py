"""What was asked: frozen, strict models without torch; one home for every default."""
