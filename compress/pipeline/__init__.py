"""Passes and pipelines: contract, syntax, run, prediction."""
