"""What is recorded and shown of a run: figures, samples, warnings, and one page with all of it."""
