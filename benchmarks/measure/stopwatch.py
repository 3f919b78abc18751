"""Stopwatch for the phases of a scoring run."""

from __future__ import annotations

import time


class Stopwatch:
    """Runs from its making on; ``seconds`` by phase, in the order in which they first ended."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        """What went by since the last lap belongs to a phase of that name; one may have many laps."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._last
        self._last = now
