"""Prompts to rollouts with the training weights themselves; no inference server."""
