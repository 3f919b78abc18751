"""How much memory this process has taken at most: in all, and in each phase of serving."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

_PEAK = "5"
"""What makes Linux count the peak anew, written to ``/proc/self/clear_refs`` (proc(5))."""


class Phases:
    """The peak of every phase so far, in bytes, by its name.

    Where a peak can't be counted anew (outside Linux), a phase's is that of everything up to its end.
    """

    def __init__(self) -> None:
        self.peaks: dict[str, int] = {}

    def end(self, name: str) -> None:
        """A phase of that name ends now."""
        self.peaks[name] = max(self.peaks.get(name, 0), peak_rss())
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text(_PEAK)

    @property
    def peak(self) -> int:
        """The peak of this process over all of its life."""
        return max([peak_rss(), *self.peaks.values()])


def peak_rss() -> int:
    """Peak resident bytes of this process (VmHWM, which unlike ``ru_maxrss`` begins anew with the program)."""
    try:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
