"""Engines of encoder-decoders: one runtime a file, named as a report names it."""
