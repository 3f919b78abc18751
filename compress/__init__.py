"""Compress Hugging Face checkpoints, export them to a runtime, and score what was gained and lost."""

from compress.version import __version__ as __version__
