"""The contenders of one run side by side: a line a metric, a column a contender."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from compress.benchmarks.results.metrics import Metric, metrics, metrics_of
from compress.benchmarks.results.scorecard import Row, Scorecard, ratio

_ABREAST = 4
"""contenders beside the baselines in one table of a page"""


def comparison_table(card: Scorecard, names: Sequence[str] | None = None) -> tuple[list[str], list[list[str]]]:
    """Headers and rows: a line a metric, a column a contender (``names`` picks some).

    A cell holds the figure ± its spread, and on a second line how many times the original's and the float export's
    it is.
    """
    chosen = [row for row in card.rows if names is None or row.name in names]
    lines = [
        [metric.heading, *(_cell(card, row, metric) for row in chosen)]
        for metric in metrics_of(card)
        if any(metric.key in row.measures for row in chosen)
    ]
    return [legend(card), *(row.name for row in chosen)], lines


def length_tables(card: Scorecard, names: Sequence[str] | None = None) -> list[tuple[list[str], list[list[str]]]]:
    """A table for each metric that was measured by length and batch: headers and rows, a line a length and batch.

    Cells are as in `table`; the first header is the metric's.
    """
    lines: dict[str, list[list[str]]] = {}
    for length, batch in card.settings.cells:
        for heading, *cells in comparison_table(card.at(length, batch), names)[1]:
            lines.setdefault(heading, []).append([setting(length, batch), *cells])
    columns = [row.name for row in card.rows if names is None or row.name in names]
    headings = [metric.heading for metric in metrics(card.kind) if metric.heading in lines]
    return [([heading, *columns], lines[heading]) for heading in headings]


def setting(length: int, batch: int) -> str:
    """How a length and a batch size are written."""
    return f"{length} tokens × {batch}"


def legend(card: Scorecard) -> str:
    """What the ratios in a cell are to."""
    base = card.float_export
    return f"× {card.original.name}" + (f" · × {base.name}" if base else "")


def _cell(card: Scorecard, row: Row, metric: Metric) -> str:
    measure = row.measures.get(metric.key)
    if measure is None:
        return "–"
    shown = metric.shown(measure)
    bases = [card.original, card.float_export]
    ratios = [ratio(row, base, metric.key) for base in bases if base is not None and base.name != row.name]
    if not metric.compared or row is card.original or not ratios:
        return shown
    return shown + "\n" + " · ".join("–" if times is None else f"{times.value:.2f}×" for times in ratios)


def groups(card: Scorecard) -> Iterator[list[str]]:
    """The baselines with a few variants at a time, so that a table stays as wide as a page."""
    base = [row.name for row in card.rows if row.role in ("original", "float")]
    rest = [row.name for row in card.rows if row.name not in base]
    for start in range(0, max(len(rest), 1), _ABREAST):
        yield base + rest[start : start + _ABREAST]
