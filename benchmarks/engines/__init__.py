"""Engines: one runtime a file."""
