"""Remember SIGINT, SIGTERM and SIGHUP even where a destructor or a C callback swallows the exception."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn

_heard = False


def listen() -> None:
    """Make SIGTERM raise KeyboardInterrupt, as SIGINT and SIGHUP do where they aren't ignored, and remember them.

    SIGHUP comes when a terminal is closed; ``nohup`` ignores it.
    """
    global _heard
    _heard = False
    signal.signal(signal.SIGTERM, _interrupt)
    for name in ("SIGINT", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def heard() -> bool:
    """Whether an interrupt came since `listen`, whatever became of its exception."""
    return _heard


def check() -> None:
    """Raise KeyboardInterrupt where one came and got lost."""
    if _heard:
        raise KeyboardInterrupt


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    global _heard
    _heard = True
    raise KeyboardInterrupt
