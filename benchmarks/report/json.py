"""JSON report for programs: everything that was measured, to the last round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from compress.benchmarks.report.base import ReportFormat
from compress.benchmarks.results.report_file import NAME, report_text
from compress.benchmarks.results.scorecard import Scorecard


class Json(ReportFormat):
    """``report.json``, as ``docs/report.schema.json`` describes it."""

    name: ClassVar[str] = "json"

    def files(self, cards: Sequence[Scorecard]) -> dict[str, str]:
        """The scorecard, or several merged."""
        return {NAME: report_text(cards)}
