"""Solvers: how a pass finds a matrix's numbers."""
