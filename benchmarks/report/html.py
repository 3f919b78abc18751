"""HTML report: one file that opens offline, with a sortable table and the plots."""

from __future__ import annotations

import re
from typing import ClassVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from compress.benchmarks.report.base import Report, ReportFormat
from compress.benchmarks.report.markdown import EFFECTS, GAINS
from compress.benchmarks.report.plots import PICTURES
from compress.benchmarks.results.effects import effect_table
from compress.benchmarks.results.findings import findings
from compress.benchmarks.results.fusion_gain import gain_table
from compress.benchmarks.results.kinds import ACCURACY, PLANS, SIZE
from compress.benchmarks.results.method import machine_facts, method_facts
from compress.benchmarks.results.metrics import Metric
from compress.benchmarks.results.overview import ReportRow, measured, report_rows
from compress.benchmarks.results.scorecard import Row, Scorecard
from compress.benchmarks.results.significant import times_text
from compress.benchmarks.results.table import TableCell, comparison_table, legend, length_tables


class Html(ReportFormat):
    """``report.html``: a line a contender, a column a metric; a click on a header sorts."""

    name: ClassVar[str] = "html"

    def files(self, report: Report) -> dict[str, str]:
        """One page with the figures, plots and findings of all runs."""
        environment = Environment(
            loader=PackageLoader("compress.benchmarks.report", "."),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        cards = report.cards
        chosen = measured(cards)
        page = environment.get_template("html.jinja").render(
            title=cards[0].model if len(cards) == 1 else f"{len(cards)} runs",
            summaries=[(card, legend(card), *_summary(card)) for card in cards],
            metrics=chosen,
            lines=[(line, [_cell(line, metric) for metric in chosen]) for line in report_rows(cards)],
            plots=[Markup(drawn) for name in PICTURES if (drawn := _svg(report, name))],  # our own, not the cards'
            runs=[(card, _tables(card), findings(card), [*method_facts(card), *machine_facts(card)]) for card in cards],
        )
        return {"report.html": page}


def _summary(card: Scorecard) -> tuple[list[str], list[tuple[Row, list[TableCell]]]]:
    """Headings of size, speed and accuracy, as far as they were measured; and each contender's figures of these."""
    keys = (SIZE, PLANS[card.kind].speed, ACCURACY)
    _, lines = comparison_table(card, keys=keys)
    columns = [line.cells for line in lines]
    return [line.heading for line in lines], [(row, [cells[i] for cells in columns]) for i, row in enumerate(card.rows)]


def _cell(line: ReportRow, metric: Metric) -> tuple[str, str, str]:
    """A figure's value to sort by, its text, and its ratio to the original."""
    measure, times = line.row.measures.get(metric.key), line.ratio(metric)
    if measure is None:
        return "", "–", ""
    return repr(measure.value), metric.shown(measure), "" if times is None else times_text(times.value)


def _tables(card: Scorecard) -> list[tuple[str, list[str], list[list[str]], str]]:
    """Further tables of a run, those with rows: title, headers, rows, and the note below."""
    lengths = [
        (heads[0], heads, [row.texts(_with_ratios) for row in rows], f"Ratios: {legend(card)}.")
        for heads, rows in length_tables(card)
    ]
    helped = [("What helped", *effect_table(card), EFFECTS), ("Operators and length", *gain_table(card), GAINS)]
    return [table for table in (*helped, *lengths) if table[2]]


def _with_ratios(cell: TableCell) -> str:
    """A figure with its ratios below it: cells of the class ``lines`` keep the break."""
    return "\n".join(cell.lines)


def _svg(report: Report, name: str) -> str:
    """A picture as an SVG element: without the XML prolog, and with unique identifiers."""
    drawn = report.picture(PICTURES[name], "svg")
    if drawn is None:
        return ""
    element = drawn.decode()[drawn.decode().index("<svg") :]
    return re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", element)
