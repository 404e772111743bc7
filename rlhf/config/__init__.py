"""The settings: frozen, strict models without torch; one home for every default."""
