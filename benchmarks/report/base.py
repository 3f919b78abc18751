"""Registry of report formats, and writing ``report.*`` of one run or several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import compress.benchmarks.report
from compress.benchmarks.plots.base import Draw, Suffix
from compress.benchmarks.results.printable_card import printable_card
from compress.benchmarks.results.scorecard import Scorecard
from compress.registry import import_all
from compress.system.file_set import write_files

_registry: dict[str, type[ReportFormat]] = {}


class Report:
    """Scorecards to report on, and their pictures, each drawn once however many formats show it.

    ``cards`` are for people: controls in their text are spelled out. ``exact`` are for programs.
    """

    def __init__(self, cards: Sequence[Scorecard]) -> None:
        self.exact = cards
        self.cards = [printable_card(card) for card in cards]
        self._pictures: dict[tuple[Draw, Suffix], bytes | None] = {}

    def picture(self, draw: Draw, suffix: Suffix) -> bytes | None:
        """A picture of the cards; None where nothing was measured for it."""
        key = (draw, suffix)
        if key not in self._pictures:
            self._pictures[key] = draw(self.cards, suffix)
        return self._pictures[key]


class ReportFormat(ABC):
    """Base of report formats, registered by name when subclassed."""

    name: ClassVar[str]
    optional: ClassVar[frozenset[str]] = frozenset()
    """files that only some reports have, so that those of an earlier one have to go"""

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        _registry[cls.name] = cls

    @abstractmethod
    def files(self, report: Report) -> Mapping[str, str | bytes]:
        """Contents by the file's name, which begins with ``report.``; none where there is nothing to show."""


def formats() -> dict[str, type[ReportFormat]]:
    """Every known format by name."""
    import_all(compress.benchmarks.report)
    return dict(sorted(_registry.items()))


def write(cards: Sequence[Scorecard], folder: Path, more: Mapping[Path, str] | None = None) -> list[Path]:
    """Write the scorecards into a directory, in every format, and ``more`` files with them: all or none.

    Files of an earlier report that this one doesn't have are removed.
    """
    report = Report(cards)
    contents: dict[Path, str | bytes] = {}
    optional: set[str] = set()
    for report_format in formats().values():
        contents |= {folder / name: content for name, content in report_format().files(report).items()}
        optional |= report_format.optional
    write_files({**contents, **(more or {})}, {folder / name for name in optional} - contents.keys())
    return list(contents)
