"""Terminal output: progress and notices on standard error, results on standard output."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from threading import Timer
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console as Terminal

    from compress.cli.table import Cells

from compress.escape import encodable, printable, printable_line

T = TypeVar("T")

_SECONDS_WITHOUT_BAR = 2.0
"""seconds that work may take before it shows a bar"""
_SECONDS_WITHOUT_LINE, _SECONDS_BETWEEN_LINES = 10.0, 60.0
"""the same before a line shows where no bar can, and until it shows another"""
_PIPE_WIDTH = 200


class Console:
    """A `Progress` that draws bars where standard error is a terminal, and elsewhere prints a line now and then.

    Notices are always shown.
    """

    def __init__(self) -> None:
        self.notices: list[str] = []

    @cached_property
    def out(self) -> Terminal:
        """Standard output."""
        return _terminal()

    @cached_property
    def err(self) -> Terminal:
        """Standard error."""
        return _terminal(stderr=True)

    def track(self, items: Iterable[T], label: str, total: int | None = None, unit: str = "it") -> Iterator[T]:
        """Yield the items; after two seconds a bar shows how many are done, the rate and the remaining time."""
        if total is None:
            total = len(items) if isinstance(items, Sized) else None
        if not self.err.is_terminal:
            yield from self._lines(items, label, total)
            return
        from compress.cli.progress_bar import new_bar

        bar = new_bar(self.err, unit)
        task = bar.add_task(printable(label), total=total)
        start = time.monotonic()
        try:
            for item in items:
                yield item
                bar.advance(task)
                if not bar.live.is_started and time.monotonic() - start > _SECONDS_WITHOUT_BAR:
                    bar.start()
        finally:
            bar.stop()

    def status(self, text: str) -> AbstractContextManager[object]:
        """Show a spinner while work without countable steps runs; a line, if it takes long, where no spinner can be."""
        if not self.err.is_terminal:
            return self._delayed(text)
        from rich.text import Text

        return self.err.status(Text(printable(text)))

    def phase(self, text: str) -> None:
        """Print that a part of the work begins, on standard error, unless that is a terminal, where bars tell."""
        if not self.err.is_terminal:
            self.say(text)

    def notice(self, text: str) -> None:
        """Print a line that the user should not miss, on standard error, and keep it for the report."""
        self.notices.append(text)
        self.say(f"note: {text}")

    def say(self, text: str) -> None:
        """Print that a step is done, on standard error."""
        self.err.print(printable_line(text), markup=False, soft_wrap=True)

    def line(self, text: str) -> None:
        """Print one line of results on standard output."""
        self.out.print(printable_line(text), markup=False, soft_wrap=True)

    def write(self, text: str) -> None:
        """Write text as it comes on standard output; a terminal gets no controls but tabs and newlines."""
        if sys.stdout.isatty():
            text = "\t".join(printable(part, lines=True) for part in text.split("\t"))
        sys.stdout.write(text)
        sys.stdout.flush()

    def show(self, headers: list[str], rows: list[list[str]], narrow: Cells | None = None) -> None:
        """Print a table on standard output; its lines are never cut where that is a file or a pipe.

        Where a terminal is too narrow for it, ``narrow`` is printed in its place, a line a row; where that doesn't fit
        either, or there is none, cells are folded.
        """
        from compress.cli.table import Cells, compact_table, fits, lined_table

        lined = lined_table(Cells(headers, rows))
        if not self.out.is_terminal:
            _terminal(width=_PIPE_WIDTH).print(lined)
            return
        tables = [lined] if narrow is None else [lined, compact_table(narrow, self.out.width)]
        self.out.print(next((table for table in tables if fits(table, self.out)), lined))

    def _lines(self, items: Iterable[T], label: str, total: int | None) -> Iterator[T]:
        """Yield the items; print how many are done after some seconds, and then each minute."""
        due = time.monotonic() + _SECONDS_WITHOUT_LINE
        for count, item in enumerate(items, start=1):
            yield item
            if time.monotonic() > due:
                self.say(f"{label}: {count}" + (f" of {total}" if total is not None else ""))
                due = time.monotonic() + _SECONDS_BETWEEN_LINES

    @contextmanager
    def _delayed(self, text: str) -> Iterator[None]:
        """Print a line if what is inside takes some seconds."""
        timer = Timer(_SECONDS_WITHOUT_LINE, self.say, [text])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def command_line() -> str:
    """This run as it can be typed again."""
    return encodable(shlex.join(["compress", *sys.argv[1:]]))


def _terminal(stderr: bool = False, width: int | None = None) -> Terminal:
    from rich.console import Console as Terminal  # here: a mistake that is told in one line needs no rich

    return Terminal(stderr=stderr, highlight=False, width=width)
