"""Text from standard input: all of it, or a line at a time, for which a terminal shows a sign."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator

from compress.cli.console import Console

_SIGN = "> "


def is_terminal() -> bool:
    """Whether somebody types it."""
    return sys.stdin is not None and sys.stdin.isatty()


def read_text() -> str:
    """All of it but the end of its last line; empty where it is closed."""
    _replace_unreadable()
    return "" if sys.stdin is None else sys.stdin.read().removesuffix("\n")


def read_lines(console: Console) -> Iterator[str]:
    """Its lines as they come, stripped; empty ones are left out."""
    _replace_unreadable()
    while sys.stdin is not None:
        if is_terminal():
            console.write(_SIGN)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()


def _replace_unreadable() -> None:
    """Have bytes that are no text read as the sign for that."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
