"""Lowering: weight forms become nodes and bytes."""
