"""The gate: requirements and verdicts."""
