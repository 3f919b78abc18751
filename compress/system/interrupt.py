"""Remember SIGINT, SIGTERM and SIGHUP even where a destructor or a C callback swallows the exception."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType, TracebackType

EXIT_CODE = 130
_heard = False
_postponed = 0
"""how many `postponed` blocks are open"""
_silenced: set[int] = set()
"""signals that `ignore` has the system drop"""


def end_quietly() -> None:
    """Have an interrupt end the program with one line also before `listen`, while it is loaded and nothing is begun."""
    show = sys.excepthook

    def hook(cls: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if not issubclass(cls, KeyboardInterrupt):
            show(cls, error, traceback)
            return
        with contextlib.suppress(OSError):
            os.write(2, b"compress: interrupted\n")
        os._exit(EXIT_CODE)

    sys.excepthook = hook


def listen() -> None:
    """Make SIGTERM raise KeyboardInterrupt, as SIGINT and SIGHUP do where they aren't ignored, and remember them.

    SIGHUP comes when a terminal is closed; ``nohup`` ignores it.
    """
    global _heard, _postponed
    _heard, _postponed = False, 0
    signal.signal(signal.SIGTERM, _interrupt)
    for name in ("SIGINT", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and (number in _silenced or signal.getsignal(number) is not signal.SIG_IGN):
            signal.signal(number, _interrupt)
    _silenced.clear()


def heard() -> bool:
    """Whether an interrupt came since `listen`, whatever became of its exception."""
    return _heard


def check() -> None:
    """Raise KeyboardInterrupt where one came and got lost."""
    if _heard:
        raise KeyboardInterrupt


@contextlib.contextmanager
def postponed() -> Iterator[None]:
    """Within, an interrupt waits for the end: for what is quick and mustn't stay half done, as removing a directory.

    Who presses Ctrl-C twice interrupts what the first one had begun to clear away.
    """
    global _heard, _postponed
    earlier, _heard = _heard, False
    _postponed += 1
    try:
        yield
    finally:
        _postponed -= 1
        came, _heard = _heard, _heard or earlier
    if came and not _postponed:
        raise KeyboardInterrupt


def ignore() -> None:
    """Drop what comes from now on, until the next `listen`: the program ends already.

    The system drops it, as Python gives up its handlers while it ends, and the exit code would become a signal's.
    """
    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) is _interrupt:
            signal.signal(number, signal.SIG_IGN)
            _silenced.add(number)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    global _heard
    _heard = True
    if not _postponed:
        raise KeyboardInterrupt
