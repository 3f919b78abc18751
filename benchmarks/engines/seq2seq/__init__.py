"""Engines of encoder-decoders: one runtime a file."""
