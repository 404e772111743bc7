"""What is seen of a run: its figures, its samples, its warnings, and one page that tells it all."""
