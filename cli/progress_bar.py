"""Progress bar of work with countable steps."""

from __future__ import annotations

from rich.console import Console as Terminal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


def new_bar(terminal: Terminal, unit: str) -> Progress:
    """A bar, not shown yet: a label, what is done of how much, the rate in ``unit`` a second and the time left."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(unit),
        TimeRemainingColumn(),
        console=terminal,
        transient=True,
    )


class _Rate(ProgressColumn):
    """A progress bar's column of items per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        """The rate so far; empty before the first item."""
        rate = task.finished_speed or task.speed
        return Text("" if rate is None else f"{rate:.1f} {self.unit}/s")
