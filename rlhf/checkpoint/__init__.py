"""What is kept on disk: a run's folder, its checkpoints, and what one stage hands to the next."""
