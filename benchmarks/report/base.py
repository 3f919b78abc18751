"""Registry of report formats, and writing ``report.*`` of one run or several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import compress.benchmarks.report
from compress.benchmarks.results.scorecard import Scorecard
from compress.registry import import_all

_registry: dict[str, type[ReportFormat]] = {}


class ReportFormat(ABC):
    """Base of report formats, registered by name when subclassed."""

    name: ClassVar[str]

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        _registry[cls.name] = cls

    @abstractmethod
    def files(self, cards: Sequence[Scorecard]) -> Mapping[str, str | bytes]:
        """Contents by the file's name, which begins with ``report.``; none where there is nothing to show."""


def formats() -> dict[str, type[ReportFormat]]:
    """Every known format by name."""
    import_all(compress.benchmarks.report)
    return dict(sorted(_registry.items()))


def write(cards: Sequence[Scorecard], folder: Path) -> list[Path]:
    """Write the scorecards into a directory, in every format."""
    written = []
    for kind in formats().values():
        for name, content in kind().files(cards).items():
            file = folder / name
            file.write_bytes(content.encode() if isinstance(content, str) else content)
            written.append(file)
    return written
