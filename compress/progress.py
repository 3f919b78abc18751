"""Progress reporting for long-running work. Only the command line draws; everywhere else this is silent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Receiver of progress and notices; ``notices`` are also kept, so that a report can carry them."""

    notices: list[str]

    def track(self, items: Iterable[T], label: str, total: int | None = None, unit: str = "it") -> Iterator[T]:
        """Yield the items, showing a ``label``, how many are done, the rate in ``unit`` a second and the time left."""
        ...

    def status(self, text: str) -> AbstractContextManager[object]:
        """Show that work without countable steps is under way."""
        ...

    def phase(self, text: str) -> None:
        """Show that another part of the work begins, where nothing else shows how far it is."""
        ...

    def notice(self, text: str) -> None:
        """Show one line that the user should not miss."""
        ...


class Silent:
    """A `Progress` that shows nothing and keeps the notices."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def track(self, items: Iterable[T], label: str, total: int | None = None, unit: str = "it") -> Iterator[T]:
        """Yield the items."""
        yield from items

    def status(self, text: str) -> AbstractContextManager[object]:
        """Show nothing."""
        return nullcontext()

    def phase(self, text: str) -> None:
        """Show nothing."""

    def notice(self, text: str) -> None:
        """Keep the line."""
        self.notices.append(text)
