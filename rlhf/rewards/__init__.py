"""Where a score comes from besides a reward model: a Python function, or a weighted sum."""
