"""Peak memory of this process, of the machine and of a device, by phase."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

_PEAK = "5"
"""Text that makes Linux count the peak anew, written to ``/proc/self/clear_refs`` (proc(5))."""


class Phases:
    """Peak memory of every phase so far, in bytes, by name.

    Where a peak can't be counted anew (outside Linux), a phase's is that of everything up to its end.
    """

    def __init__(self) -> None:
        self.peaks: dict[str, int] = {}
        self.devices: dict[str, int] = {}
        self._on_device = False

    def watch_device(self) -> None:
        """Record device memory too, at the end of a phase: arenas don't shrink."""
        self._on_device = True

    def end(self, name: str) -> None:
        """End a phase of a name, and record its peak."""
        self.peaks[name] = max(self.peaks.get(name, 0), peak_rss())
        if self._on_device and (used := device_bytes()) is not None:
            self.devices[name] = max(self.devices.get(name, 0), used)
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text(_PEAK)

    @property
    def peak(self) -> int:
        """Peak resident bytes over the whole life of the process."""
        return max([peak_rss(), *self.peaks.values()])


def peak_rss() -> int:
    """Peak resident bytes of this process (VmHWM, which unlike ``ru_maxrss`` begins anew with the program)."""
    try:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def device_bytes() -> int | None:
    """Bytes that this process holds on the first NVIDIA GPU, as NVML counts them; None where it doesn't."""
    import pynvml

    pynvml.nvmlInit()
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle):
            if process.pid == os.getpid() and process.usedGpuMemory is not None:
                return int(process.usedGpuMemory)
        return None
    finally:
        pynvml.nvmlShutdown()
