"""Benchmarks of this project itself: `make bench`."""
