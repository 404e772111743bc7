"""What flows between the rooms: frozen records of tensors and text."""
