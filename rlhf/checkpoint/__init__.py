"""What is kept on disk: a run's folder, its checkpoints, and the models passed between stages."""
