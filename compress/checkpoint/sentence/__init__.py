"""Sentence encoders' modules on disk."""
