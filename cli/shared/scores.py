"""Print a scorecard's tables and findings."""

from __future__ import annotations

from itertools import starmap
from pathlib import Path

from compress.benchmarks.results.effects import effect_table, effects
from compress.benchmarks.results.findings import findings
from compress.benchmarks.results.fusion_gain import gain_table
from compress.benchmarks.results.printable_card import printable_card
from compress.benchmarks.results.scorecard import Scorecard
from compress.benchmarks.results.sentences import sentences
from compress.benchmarks.results.table import TableRow, comparison_table, length_tables, shown_keys
from compress.cli.console import Console


def print_scores(card: Scorecard, out: Path, console: Console, every_figure: bool = False) -> None:
    """Print what was measured, a sentence on each variant, and where in the directory ``out`` the report is.

    Unless ``every_figure`` is asked for, the table has eight lines, and those for which there was an option.
    """
    card = printable_card(card)
    headers, rows = comparison_table(card)
    shown = rows if every_figure else comparison_table(card, keys=shown_keys(card))[1]
    console.show(*_texts(headers, shown))
    if len(shown) < len(rows):
        console.line(f"{len(rows) - len(shown)} more figures in the report; --all shows them here")
    for table in (_helped(card), gain_table(card), *starmap(_texts, length_tables(card))):
        if table[1]:
            console.show(*table)
    for line in findings(card):
        console.line(f"! {line}")
    for sentence in sentences(card):
        console.line(sentence)
    console.say(f"report: {out / 'report.md'}")


def _helped(card: Scorecard) -> tuple[list[str], list[list[str]]]:
    """What each pass brought, where a card has a variant with and one without it."""
    headers, rows = effect_table(card)
    return headers, rows if any(effect.without.role == "variant" for effect in effects(card)) else []


def _texts(headers: list[str], rows: list[TableRow]) -> tuple[list[str], list[list[str]]]:
    """A table whose figures have their ratios below them."""
    return headers, [row.texts(lambda cell: "\n".join(cell.lines)) for row in rows]
