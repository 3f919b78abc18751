"""Graphs built by mobius, and the fixes that they need."""
