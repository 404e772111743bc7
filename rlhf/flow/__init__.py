"""What flows between the packages: frozen records of tensors and text."""
