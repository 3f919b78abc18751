"""Pictures as PNG and SVG: Pareto fronts, latency and fusion gain over length, errors over layers."""

from __future__ import annotations

from typing import ClassVar

from compress.benchmarks.plots import accuracy, error_layer, length
from compress.benchmarks.plots.base import Draw, Suffix
from compress.benchmarks.report.base import Report, ReportFormat

PICTURES: dict[str, Draw] = {**accuracy.PICTURES, **length.PICTURES, **error_layer.PICTURES}
"""Every picture of a report by its name, in the order of the page."""
_SUFFIXES: tuple[Suffix, ...] = ("png", "svg")


class Plots(ReportFormat):
    """``report.accuracy-size.*`` and the like."""

    name: ClassVar[str] = "plots"
    optional: ClassVar[frozenset[str]] = frozenset(
        f"report.{name}.{suffix}" for name in PICTURES for suffix in _SUFFIXES
    )

    def files(self, report: Report) -> dict[str, bytes]:
        """The pictures for which something was measured."""
        drawn = {
            f"report.{name}.{suffix}": report.picture(draw, suffix)
            for name, draw in PICTURES.items()
            for suffix in _SUFFIXES
        }
        return {name: picture for name, picture in drawn.items() if picture is not None}
