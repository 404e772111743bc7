"""The boundary: Hydra in, commands out, and the one place that names every concrete class."""
