"""Limits of time and memory for what a stranger's template computes."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

import psutil

_AGAIN = 1.0
"""Seconds after which it is told again: the first error may be swallowed, as by what folds a template's constants."""


@contextmanager
def limited(seconds: float, nbytes: int) -> Iterator[None]:
    """Within, Python code ends with a TimeoutError after so long, and with a MemoryError beyond so many more bytes.

    Time is limited in the main thread alone, and neither where the system has no such limits.
    """
    with ExitStack() as stack:
        if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
            stack.enter_context(_time(seconds))
        if sys.platform == "linux":
            stack.enter_context(_memory(nbytes))
        yield


@contextmanager
def _time(seconds: float) -> Iterator[None]:
    running = True

    def stop(signum: int, frame: FrameType | None) -> None:
        if running:
            raise TimeoutError

    begin, former = time.monotonic(), signal.signal(signal.SIGALRM, stop)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    try:
        yield
    finally:
        running = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
        if left:  # a timer of somebody else's goes on
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - begin), 1e-3), interval)


@contextmanager
def _memory(nbytes: int) -> Iterator[None]:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    bounds = (math.inf if bound == resource.RLIM_INFINITY else bound for bound in (soft, hard))
    limit = min(psutil.Process().memory_info().vms + nbytes, *bounds)
    resource.setrlimit(resource.RLIMIT_AS, (int(limit), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
