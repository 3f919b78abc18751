"""Print a scorecard's tables and findings."""

from __future__ import annotations

from itertools import starmap
from pathlib import Path

from compress.benchmarks.results.findings import findings
from compress.benchmarks.results.fusion_gain import gain_table
from compress.benchmarks.results.printable_card import printable_card
from compress.benchmarks.results.scorecard import Scorecard
from compress.benchmarks.results.table import TableRow, comparison_table, length_tables
from compress.cli.console import Console


def print_scores(card: Scorecard, out: Path, console: Console) -> None:
    """Print what was measured, and where in the directory ``out`` the report is."""
    card = printable_card(card)
    for headers, rows in (_texts(*comparison_table(card)), gain_table(card), *starmap(_texts, length_tables(card))):
        if rows:
            console.show(headers, rows)
    for line in findings(card):
        console.line(f"! {line}")
    console.say(f"report: {out / 'report.md'}")


def _texts(headers: list[str], rows: list[TableRow]) -> tuple[list[str], list[list[str]]]:
    """A table whose figures have their ratios below them."""
    return headers, [row.texts(lambda cell: "\n".join(cell.lines)) for row in rows]
