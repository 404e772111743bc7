"""Preview: what training will see of the rows, for a person to look at before it starts."""
