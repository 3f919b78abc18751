"""Labeled text and lm-eval tasks: read, checked, refused."""
