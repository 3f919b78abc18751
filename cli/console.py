"""Terminal output: progress and notices on standard error, results on standard output."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from rich.console import Console as Terminal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

T = TypeVar("T")

_SECONDS_WITHOUT_BAR = 2.0
"""seconds that work may take before it shows a bar"""
_PIPE_WIDTH = 200


class Console:
    """A `Progress` that draws bars where standard error is a terminal and none elsewhere; notices are always shown."""

    def __init__(self) -> None:
        self.out = Terminal(highlight=False)
        self.err = Terminal(stderr=True, highlight=False)
        self.notices: list[str] = []

    def track(self, items: Iterable[T], label: str, total: int | None = None, unit: str = "it") -> Iterator[T]:
        """Yield the items; after two seconds a bar shows how many are done, the rate and the remaining time."""
        if total is None:
            total = len(items) if isinstance(items, Sized) else None
        if not self.err.is_terminal:
            yield from items
            return
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(unit),
            TimeRemainingColumn(),
            console=self.err,
            transient=True,
        )
        task = bar.add_task(label, total=total)
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
        """Show a spinner while work without countable steps runs."""
        return self.err.status(text) if self.err.is_terminal else nullcontext()

    def notice(self, text: str) -> None:
        """Print a line that the user should not miss, on standard error, and keep it for the report."""
        self.notices.append(text)
        self.err.print(Text(f"note: {text}"), soft_wrap=True)

    def say(self, text: str) -> None:
        """Print that a step is done, on standard error."""
        self.err.print(Text(text), soft_wrap=True)

    def show(self, headers: list[str], rows: list[list[str]]) -> None:
        """Print a table on standard output; its lines are never cut where that is a file or a pipe."""
        table = Table(*headers, header_style="bold")
        for row in rows:
            table.add_row(*map(Text, row))
        if self.out.is_terminal:
            self.out.print(table)
        else:
            Terminal(highlight=False, width=_PIPE_WIDTH).print(table)


def command_line() -> str:
    """This run as it can be typed again."""
    return shlex.join(["compress", *sys.argv[1:]])


class _Rate(ProgressColumn):
    """A progress bar's column of items per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        """The rate so far; empty before the first item."""
        rate = task.finished_speed or task.speed
        return Text("" if rate is None else f"{rate:.1f} {self.unit}/s")
