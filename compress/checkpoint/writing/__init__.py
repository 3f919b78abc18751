"""Variants, written to a directory with their model card."""
