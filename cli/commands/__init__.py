"""Subcommands: one a file."""
