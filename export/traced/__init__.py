"""Graphs traced by torch's exporter, layer by layer."""
