"""Comparison tables of one run: a line a metric, a column a contender."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass

from compress.benchmarks.results.kinds import PLANS
from compress.benchmarks.results.metrics import METRICS, Metric, metrics, metrics_of
from compress.benchmarks.results.scorecard import Row, Scorecard, ratio
from compress.benchmarks.results.significant import times_text
from compress.benchmarks.statistics.interval import is_resolved
from compress.benchmarks.statistics.measure import Measure

_ABREAST = 4
"""contenders beside the baselines in one table of a page"""
_UNKNOWN = "–"
_ON_DEMAND = ("beam_tps", "sample_tps", "cost", "image_cost")
"""metrics that an option or a profile asks for"""


@dataclass(frozen=True)
class TableCell:
    """One figure: its ``text``, ± its spread where it has one, and how many times each baseline's it is.

    ``ratios`` are to the original and the float export, a dash where one has no such figure, a question mark behind one
    that the measurement doesn't tell from 1; none where ratios make no sense. Every format lays the two out in its own
    way.
    """

    text: str
    ratios: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        """The figure, and below it the ratios, where there are any."""
        return [self.text, " · ".join(self.ratios)] if self.ratios else [self.text]


@dataclass(frozen=True)
class TableRow:
    """A metric, or a length and batch, and the cell of each contender."""

    heading: str
    cells: tuple[TableCell, ...]

    def texts(self, layout: Callable[[TableCell], str]) -> list[str]:
        """The heading, and every cell as a format writes it."""
        return [self.heading, *map(layout, self.cells)]


def comparison_table(
    card: Scorecard, names: Sequence[str] | None = None, keys: Container[str] | None = None
) -> tuple[list[str], list[TableRow]]:
    """Headers and rows: a line a metric (``keys`` picks some), a column a contender (``names`` picks some)."""
    chosen = [row for row in card.rows if names is None or row.name in names]
    lines = [
        TableRow(metric.heading, tuple(_cell(card, row, metric) for row in chosen))
        for metric in metrics_of(card)
        if (keys is None or metric.key in keys) and any(metric.key in row.measures for row in chosen)
    ]
    return [legend(card), *(row.name for row in chosen)], lines


def length_tables(card: Scorecard, names: Sequence[str] | None = None) -> list[tuple[list[str], list[TableRow]]]:
    """A table for each metric that was measured by length and batch: headers and rows, a line a length and batch.

    Cells are as in `comparison_table`; the first header is the metric's.
    """
    lines: dict[str, list[TableRow]] = {}
    for length, batch in card.settings.cells:
        for row in comparison_table(card.at(length, batch), names)[1]:
            lines.setdefault(row.heading, []).append(TableRow(setting(length, batch), row.cells))
    columns = [row.name for row in card.rows if names is None or row.name in names]
    headings = [metric.heading for metric in metrics(card.kind) if metric.heading in lines]
    return [([heading, *columns], lines[heading]) for heading in headings]


def setting(length: int, batch: int) -> str:
    """A length and a batch size in words."""
    return f"{length} tokens × {batch}"


def legend(card: Scorecard) -> str:
    """The baselines that the ratios in a cell are to."""
    base = card.float_export
    return f"× {card.original.name}" + (f" · × {base.name}" if base else "")


def _cell(card: Scorecard, row: Row, metric: Metric) -> TableCell:
    measure = row.measures.get(metric.key)
    if measure is None:
        return TableCell(_UNKNOWN)
    shown = metric.shown(measure)
    if not metric.compared or row is card.original:
        return TableCell(shown)
    bases = [card.original, card.float_export]
    ratios = [ratio(row, base, metric.key) for base in bases if base is not None and base.name != row.name]
    return TableCell(shown, tuple(_ratio_text(times) for times in ratios))


def _ratio_text(times: Measure | None) -> str:
    """A ratio in words, with a question mark where the measurement doesn't tell it from 1."""
    if times is None:
        return _UNKNOWN
    return times_text(times.value) + ("" if is_resolved(times) else "?")


def shown_keys(card: Scorecard) -> set[str]:
    """Metrics that a terminal shows of a card: its kind's eight, and what was asked for besides."""
    on_demand = {metric.key for metric in METRICS if metric.labeled or metric.key in _ON_DEMAND}
    return {*PLANS[card.kind].shown, *on_demand, *card.tasks}


def groups(card: Scorecard, abreast: int = _ABREAST) -> Iterator[list[str]]:
    """Names of the baselines with so many variants at a time, so that a table fits a page."""
    base = [row.name for row in card.rows if row.role in ("original", "float")]
    rest = [row.name for row in card.rows if row.name not in base]
    for start in range(0, max(len(rest), 1), abreast):
        yield base + rest[start : start + abreast]
