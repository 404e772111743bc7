"""Layouts: what public data sets call their columns, and what their authors mean by them."""
