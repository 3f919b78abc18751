"""Calibration: text or images through the layers, and statistics of their inputs."""
