"""How long work tells that it is getting on. Only the command line draws; everywhere else this is silent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Told of long work and of what a user should know."""

    def track(self, items: Iterable[T], what: str, total: int | None = None, unit: str = "it") -> Iterator[T]:
        """Yield the items, showing how many are done, the rate in ``unit`` a second, and the time left."""
        ...

    def notice(self, text: str) -> None:
        """Say one line that the user should not miss."""
        ...


class Silent:
    """Shows nothing; keeps the notices, so that a report can carry them."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def track(self, items: Iterable[T], what: str, total: int | None = None, unit: str = "it") -> Iterator[T]:
        """Yield the items."""
        yield from items

    def notice(self, text: str) -> None:
        """Keep the line."""
        self.notices.append(text)
