"""Sweeps: trials, one after another or side by side; their table and their page."""
