"""Cores that other programs keep busy while something is measured."""

from __future__ import annotations

import os
import time

import psutil


class Contention:
    """CPU use of other programs since construction: than this process and those of its children that have ended."""

    def __init__(self) -> None:
        self._begin = self._now()

    def cores_used_by_others(self) -> float:
        """Average number of cores that others kept busy; time stolen by a hypervisor's other guests counts too."""
        elapsed, busy, ours = (now - then for now, then in zip(self._now(), self._begin, strict=True))
        return max(0.0, busy - ours) / elapsed

    @staticmethod
    def _now() -> tuple[float, float, float]:
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        twice = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # counted in user and nice already
        return time.perf_counter(), sum(times) - idle - twice, sum(os.times()[:4])
