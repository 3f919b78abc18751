"""Standard streams that outlive their readers, and that write for any terminal."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TextIO, cast


def prepare_output() -> None:
    """Replace the standard streams by ones that drop what nobody reads any more.

    A pipe whose reader has left (``| head -1``) must not stop a run, nor change its exit code; nor must errors that
    can't be written anywhere. Output shows ``?`` where a character lacks. A stream that was closed becomes one that
    nobody reads, lest the next file that is opened take its place. Output that is no file of the system, as in tests,
    stays.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    sys.stdout = _dropping(sys.stdout, sys.__stdout__, BrokenPipeError, "replace")
    sys.stderr = _dropping(sys.stderr, sys.__stderr__, OSError, "backslashreplace")


def _dropping(stream: TextIO, standard: TextIO | None, dropped: type[OSError], errors: str) -> TextIO:
    """The stream anew, without these errors, where it is a ``standard`` one of the system."""
    if stream is not standard or not isinstance(stream, io.TextIOWrapper):
        return stream
    with contextlib.suppress(dropped):
        stream.flush()
    raw = cast(io.RawIOBase, _Pipe(stream.fileno(), dropped))
    buffered = stream.line_buffering or stream.isatty()
    return io.TextIOWrapper(io.BufferedWriter(raw), stream.encoding, errors, line_buffering=buffered)


def drop_unwritable() -> None:
    """Drop what can't be written to standard output, as on a full disk: Python would try again at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Pipe(io.FileIO):
    """A descriptor's file, which takes what can't be written any more for written."""

    def __init__(self, descriptor: int, dropped: type[OSError]) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._dropped = dropped

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        """Write bytes, or drop them where they can't be; how many they are."""
        try:
            return super().write(data)
        except self._dropped:
            return len(data)
