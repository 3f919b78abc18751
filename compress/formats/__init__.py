"""Checkpoint formats: how integers become tensors in a file."""
