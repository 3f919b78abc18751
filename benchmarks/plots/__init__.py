"""Plots: one kind of picture a file, named as a report names it."""
