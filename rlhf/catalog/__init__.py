"""What the project has, as records that everything else derives from; pure Python, no torch."""
