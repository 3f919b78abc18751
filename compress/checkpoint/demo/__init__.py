"""Demo checkpoints and the demo text."""
