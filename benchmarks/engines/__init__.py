"""Engines: one runtime a file, named as a report names it."""
