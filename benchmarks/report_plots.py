"""The Pareto fronts as pictures, PNG and SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from compress.benchmarks.pareto import COSTS, draw
from compress.benchmarks.report import Format
from compress.benchmarks.scorecard import Scorecard

_SUFFIXES: tuple[Literal["png", "svg"], ...] = ("png", "svg")


class Plots(Format):
    """``report.accuracy-size.*`` and ``report.accuracy-speed.*``."""

    name: ClassVar[str] = "plots"

    def files(self, cards: Sequence[Scorecard]) -> dict[str, bytes]:
        """The pictures for which something was measured."""
        pictures = {f"report.{cost.name}.{suffix}": draw(cards, cost, suffix) for cost in COSTS for suffix in _SUFFIXES}
        return {name: picture for name, picture in pictures.items() if picture is not None}
