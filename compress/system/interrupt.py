"""Remember SIGINT and SIGTERM even where a destructor or a C callback swallows the exception."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn

_heard = False


def listen() -> None:
    """Make SIGTERM raise KeyboardInterrupt, as SIGINT does where it isn't ignored, and remember both."""
    global _heard
    _heard = False
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _interrupt)


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
