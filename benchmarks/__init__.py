"""Measure and compare variants on the exported artifact, each in its own runtime."""
