"""Phases of a scoring run, and the overhead between them."""

from __future__ import annotations

from collections.abc import Mapping

MEASURED = ("speed", "accuracy", "labels", "tasks")
"""The phases in which contenders do what is measured; all others are overhead, loading them included."""


def overhead(seconds: Mapping[str, float]) -> float:
    """Seconds of overhead: phases that aren't measured work."""
    return sum(spent for phase, spent in seconds.items() if phase not in MEASURED)
