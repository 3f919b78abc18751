"""Spaces of a model's channels: which of them may be rotated, and what writes and reads them."""
