"""Stopwatch for the phases of a scoring run."""

from __future__ import annotations

import time


class Stopwatch:
    """Stopwatch that starts at construction; ``seconds`` by phase, in the order in which they first ended."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        """Add the time since the last lap to a phase; one may have many laps."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._last
        self._last = now
