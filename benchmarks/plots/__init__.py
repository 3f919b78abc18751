"""Plots: one a file."""
