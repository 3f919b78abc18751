"""``report.csv``, for spreadsheets and data frames: a line a contender, figures as they are stored."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import ClassVar

from compress.benchmarks.metric_table import Metric
from compress.benchmarks.overview import Line, lines, measured
from compress.benchmarks.report import Format
from compress.benchmarks.scorecard import Scorecard

_FACTS = ("model", "machine", "created", "variant", "role", "engine", "recipe", "parameters")


class Csv(Format):
    """Each metric has a column with its key, one with its spread, and one with its ratio to the original's."""

    name: ClassVar[str] = "csv"

    def files(self, cards: Sequence[Scorecard]) -> dict[str, str]:
        """One table of all runs; units are those of ``docs/metrics.md``, and what wasn't measured is empty."""
        chosen, text = measured(cards), io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        columns = [f"{metric.key}{kind}" for metric in chosen for kind in _kinds(metric)]
        writer.writerow([*_FACTS, *columns])
        for line in lines(cards):
            card, row = line.card, line.row
            facts = [card.model, line.machine, card.created, row.name, row.role, row.engine, row.recipe, row.parameters]
            writer.writerow([*facts, *(figure for metric in chosen for figure in _figures(line, metric))])
        return {"report.csv": text.getvalue()}


def _kinds(metric: Metric) -> tuple[str, ...]:
    return ("", "_spread", "_ratio") if metric.compared else ("", "_spread")


def _figures(line: Line, metric: Metric) -> list[float | None]:
    measure = line.row.measures.get(metric.key)
    figures: list[float | None] = [None, None] if measure is None else [measure.value, measure.spread]
    if metric.compared:
        times = line.ratio(metric)
        figures.append(None if times is None else times.value)
    return figures
