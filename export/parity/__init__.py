"""The parity gate: a graph against torch."""
