"""Export targets: one a file."""
