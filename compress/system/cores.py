"""Number of threads to work with: as the user's environment says, or the cores that this process may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
_PER_CORE = 8
"""Threads of one core, beyond which they do little but wake each other."""

THREADS = "OMP_NUM_THREADS"


def default_threads() -> int:
    """Threads that the environment asks for (``OMP_NUM_THREADS``), up to `most_threads`, else one for each core."""
    first = os.environ.get(THREADS, "").split(",")[0].strip()  # of nested parts the outer one
    return min(int(first), most_threads()) if first.isdecimal() and int(first) else available_cores()


def granted_threads(asked: int | None) -> int:
    """Threads to work with: as many as are asked for, up to `most_threads`, else `default_threads`."""
    return min(asked or default_threads(), most_threads())


def most_threads() -> int:
    """The most threads that may be asked for here: eight for each available core."""
    return _PER_CORE * available_cores()


def available_cores() -> int:
    """Physical cores that this process may use: by affinity, without hyperthreads, within its cgroups' quotas."""
    logical = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = {_siblings(cpu) for cpu in logical}
    return max(1, min(len(cores), quota() or len(cores)))


def quota() -> int | None:
    """Whole cores' worth of time that this process's cgroups (versions 1 and 2) give it; None where none limits it."""
    return min(_quotas(), default=None)


def _siblings(cpu: int) -> str:
    try:
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text().strip()
    except OSError:
        return str(cpu)


def _quotas() -> Iterator[int]:
    """Quotas of the process's groups and of those above them; in a container the topmost are its own."""
    for version, group in _memberships():
        place = Path(group.lstrip("/"))
        for folder in (place, *place.parents):
            if (cores := _quota(version, folder)) is not None:
                yield cores


def _memberships() -> Iterator[tuple[int, str]]:
    """Version and path of the groups that may limit the process's time."""
    try:
        lines = _OWN_GROUPS.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:
            yield 2, group
        elif "cpu" in controllers.split(","):
            yield 1, group


def _quota(version: int, folder: Path) -> int | None:
    try:
        if version == 2:
            microseconds, period = (_GROUPS / folder / "cpu.max").read_text().split()
        else:
            base = _GROUPS / "cpu" / folder
            microseconds = (base / "cpu.cfs_quota_us").read_text().strip()
            period = (base / "cpu.cfs_period_us").read_text().strip()
        return None if microseconds in ("max", "-1") else max(1, int(microseconds) // int(period))
    except (OSError, ValueError, ArithmeticError):
        return None
