"""Checkpoint directories: originals and variants, read and written."""
