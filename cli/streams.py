"""Standard output that outlives its reader, and that writes for any terminal."""

from __future__ import annotations

import io
import os
import sys
from typing import cast


def prepare_output() -> None:
    """Replace standard output by one that drops what nobody reads any more, and shows ``?`` where a character lacks.

    A pipe whose reader has left (``| head -1``) must not stop a run, nor change its exit code. Output that is no file
    of the system, as in tests, stays.
    """
    standard = sys.stdout
    if standard is not sys.__stdout__ or not isinstance(standard, io.TextIOWrapper):
        return
    standard.flush()
    raw = cast(io.RawIOBase, _Pipe(standard.fileno()))
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(raw),
        standard.encoding,
        "replace",
        line_buffering=standard.line_buffering or standard.isatty(),
    )


def drop_unwritable() -> None:
    """Drop what can't be written to standard output, as on a full disk: Python would try again at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Pipe(io.FileIO):
    """A descriptor's file, which takes what can't be written any more for written."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        """Write bytes, or drop them where the reader has left; how many they are."""
        try:
            return super().write(data)
        except BrokenPipeError:
            return len(data)
