"""Evaluation data: text and images, labeled text, lm-eval tasks."""
