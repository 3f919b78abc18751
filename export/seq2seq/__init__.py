"""Encoder-decoder graphs, built node by node."""
