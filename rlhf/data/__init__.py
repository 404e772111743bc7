"""Rows to batches: reading, checking, tokenizing, splitting and streaming what is learned from."""
