"""Cores that other programs keep busy while something is measured."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import psutil


class Contention:
    """CPU use of other programs since construction; ``pids`` are processes of ours besides this one."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._ours = [psutil.Process(pid) for pid in (os.getpid(), *pids)]
        self._begin = self._now()

    def cores_used_by_others(self) -> float:
        """Average number of cores that others kept busy; time stolen by a hypervisor's other guests counts too."""
        elapsed, busy, ours = (now - then for now, then in zip(self._now(), self._begin, strict=True))
        return max(0.0, busy - ours) / elapsed

    def _now(self) -> tuple[float, float, float]:
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        twice = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # counted in user and nice already
        ours = sum(own.user + own.system for own in (process.cpu_times() for process in self._ours))
        return time.perf_counter(), sum(times) - idle - twice, ours
