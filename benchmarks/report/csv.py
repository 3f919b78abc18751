"""CSV report for spreadsheets and data frames: a line a contender, figures as stored."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import ClassVar

from compress.benchmarks.report.base import Report, ReportFormat
from compress.benchmarks.results.metrics import Metric
from compress.benchmarks.results.overview import ReportRow, measured, report_rows

_FORMULA = ("=", "+", "-", "@")
_FACTS = ("model", "machine", "created", "variant", "role", "engine", "recipe", "parameters")


class Csv(ReportFormat):
    """``report.csv``: for each metric a column of values, of spreads, and of ratios to the original."""

    name: ClassVar[str] = "csv"
    optional: ClassVar[frozenset[str]] = frozenset({"report.lengths.csv"})

    def files(self, report: Report) -> dict[str, str]:
        """One table of all runs, and one by length and batch where that was measured.

        Units are those of ``docs/metrics.md``, and what wasn't measured is empty.
        """
        cards = report.cards
        files = {"report.csv": _table(measured(cards), [([], line) for line in report_rows(cards)], [])}
        cells = [(card.at(*cell), cell) for card in cards for cell in card.settings.cells]
        if cells:
            chosen = measured([card for card, _ in cells])
            rows = [(list(cell), line) for card, cell in cells for line in report_rows([card]) if line.row.measures]
            files["report.lengths.csv"] = _table(chosen, rows, ["length", "batch"])
        return files


def _table(chosen: Sequence[Metric], rows: Sequence[tuple[list[int], ReportRow]], settings: list[str]) -> str:
    """A line each, with its settings behind the facts."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    figures = [_plain(f"{metric.key}{kind}") for metric in chosen for kind in _kinds(metric)]
    writer.writerow([*_FACTS, *settings, *figures])
    for setting, line in rows:
        card, row = line.card, line.row
        facts = [card.model, line.machine, card.created, row.name, row.role, row.engine, row.recipe, row.parameters]
        facts = [_plain(fact) if isinstance(fact, str) else fact for fact in facts]
        writer.writerow([*facts, *setting, *(figure for metric in chosen for figure in _figures(line, metric))])
    return text.getvalue()


def _plain(text: str) -> str:
    """Text that a spreadsheet doesn't take for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _kinds(metric: Metric) -> tuple[str, ...]:
    return ("", "_spread", "_ratio") if metric.compared else ("", "_spread")


def _figures(line: ReportRow, metric: Metric) -> list[float | None]:
    measure = line.row.measures.get(metric.key)
    figures: list[float | None] = [None, None] if measure is None else [measure.value, measure.spread]
    if metric.compared:
        times = line.ratio(metric)
        figures.append(None if times is None else times.value)
    return figures
