"""Compress Hugging Face checkpoints, export them to a runtime, and score what was gained and lost."""

__version__ = "0.1.0"
