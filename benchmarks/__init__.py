"""Measuring: what a variant gains and what it loses, on the exported artifact, in its own runtime."""
