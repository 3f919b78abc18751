"""JSON report for programs: everything that was measured, to the last round."""

from __future__ import annotations

from typing import ClassVar

from compress.benchmarks.report.base import Report, ReportFormat
from compress.benchmarks.results.report_file import NAME, report_text


class Json(ReportFormat):
    """``report.json``, as ``docs/report.schema.json`` describes it."""

    name: ClassVar[str] = "json"

    def files(self, report: Report) -> dict[str, str]:
        """The scorecard, or several merged."""
        return {NAME: report_text(report.exact)}
