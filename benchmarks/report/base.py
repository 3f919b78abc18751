"""Registry of report formats, and writing ``report.*`` of one run or several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import compress.benchmarks.report
from compress.benchmarks.plots.base import Draw, Suffix
from compress.benchmarks.results.scorecard import Scorecard
from compress.registry import import_all

_registry: dict[str, type[ReportFormat]] = {}


class Report:
    """Scorecards to report on, and their pictures, each drawn once however many formats show it."""

    def __init__(self, cards: Sequence[Scorecard]) -> None:
        self.cards = cards
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


def write(cards: Sequence[Scorecard], folder: Path) -> list[Path]:
    """Write the scorecards into a directory, in every format."""
    report, written = Report(cards), []
    for report_format in formats().values():
        for name, content in report_format().files(report).items():
            file = folder / name
            file.write_bytes(content.encode() if isinstance(content, str) else content)
            written.append(file)
    return written
