"""Markdown report, and the scores of a variant's model card."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from compress.benchmarks.report.base import Report, ReportFormat
from compress.benchmarks.results.effects import effect_table
from compress.benchmarks.results.findings import findings
from compress.benchmarks.results.fusion_gain import gain_table
from compress.benchmarks.results.method import machine_facts, method_facts
from compress.benchmarks.results.overview import overview
from compress.benchmarks.results.printable_card import printable_card
from compress.benchmarks.results.runtimes import fastest_runtimes
from compress.benchmarks.results.scorecard import Scorecard
from compress.benchmarks.results.table import TableCell, TableRow, comparison_table, groups, legend, length_tables
from compress.escape import markdown_block, markdown_code, markdown_text, printable

_OF_ALL = ("BUSY ", "NOISY ", "DOUBTFUL ")
"""beginnings of findings that concern every variant"""
EFFECTS = "How many times what it is without that pass alone a figure is. Stars as docs/metrics.md counts them."
GAINS = "How many times as fast it is with that pass as without it alone, of inputs of that length × so many at once."


class Markdown(ReportFormat):
    """``report.md``: one run in full; several in one table, with what didn't help in each."""

    name: ClassVar[str] = "markdown"

    def files(self, report: Report) -> dict[str, str]:
        """One page: a run in full, or an overview of several."""
        cards = report.cards
        return {"report.md": markdown(cards[0]) if len(cards) == 1 else _merged(cards)}


def variant_section(card: Scorecard, name: str) -> str:
    """Scores of a variant for its model card: its figures beside the baselines', and what didn't help.

    A variant that was exported to several targets has a column for each.
    """
    card, name = printable_card(card), printable(name)
    own = [row.name for row in card.rows if row.role == "variant" and name in (row.name, row.variant)]
    base = [row.name for row in card.rows if row.role in ("original", "float")]
    lines = _comparison(*comparison_table(card, [*base, *own]))
    about = [line for line in findings(card) if line.startswith((*(f"{column} " for column in own), *_OF_ALL))]
    runtimes = [line for line in fastest_runtimes(card) if line.startswith(f"{name}, ")]
    facts = [*about, *runtimes, *card.notes[:1], *method_facts(card), *machine_facts(card)]
    return "\n".join([*lines, "", *_items(map(markdown_text, facts))])


def _merged(cards: Sequence[Scorecard]) -> str:
    headers, rows = overview(cards)
    complaints = [f"{card.model}: {line}" for card in cards for line in findings(card)]
    runs = [
        f"{markdown_text(f'{card.model}, {card.created}, {card.read}')}: {markdown_code(card.command)}"
        for card in cards
    ]
    lines = [
        "# Report",
        "",
        *_markdown_table(headers, _escaped(rows)),
        "",
        "A figure in brackets is how many times the original's.",
        "",
    ]
    for card in cards:
        lines += _by_length(card, markdown_text(f"{card.model}, {card.created}: ") + " ")
    lines += ["## What didn't help", "", *(_items(map(markdown_text, complaints)) or ["Nothing to complain of."])]
    lines += ["", "## Runs", "", *_items(runs), ""]
    return "\n".join(lines)


def markdown(card: Scorecard) -> str:
    """Report of one run: tables, findings, recipes, notes, method and machine."""
    lines = [f"# {markdown_text(card.model)}", ""]
    if card.command:
        lines += [*markdown_block(card.command), ""]
    for group in groups(card):
        lines += [*_comparison(*comparison_table(card, group)), ""]
    headers, effects = effect_table(card)
    if effects:
        lines += ["## What helped", "", *_markdown_table(headers, _escaped(effects), "---"), "", EFFECTS, ""]
    lines += _by_length(card)
    lines += ["## What didn't help", ""]
    lines += _items(map(markdown_text, findings(card))) or ["Nothing to complain of: no variant is worse in anything."]
    lines += ["", "## Recipes", "", *_markdown_table(["variant", "recipe", "directory"], _recipes(card), "---"), ""]
    if card.notes:
        lines += ["## Notes", "", *_items(map(markdown_text, card.notes)), ""]
    lines += ["## How it was measured", "", *_items(map(markdown_text, method_facts(card))), ""]
    lines += ["## Machine", "", *_items(map(markdown_text, machine_facts(card))), ""]
    return "\n".join(lines)


def _by_length(card: Scorecard, title: str = "") -> list[str]:
    """Sections by length and batch, with ``title`` before their headings; none where nothing was measured."""
    lines = []
    headers, gained = gain_table(card)
    if gained:
        lines += [
            f"## {title}Operators and length",
            "",
            *_markdown_table(headers, _escaped(gained), "---"),
            "",
            GAINS,
            "",
        ]
    if card.settings.cells:
        lines += [f"## {title}By length and batch", "", f"Ratios: {markdown_text(legend(card))}.", ""]
    for names in groups(card):
        for heads, rows in length_tables(card, names):
            lines += [*_comparison(heads, rows), ""]
    return lines


def _items(facts: Iterable[str]) -> list[str]:
    """Lines of a list."""
    return [f"- {fact}" for fact in facts]


def _recipes(card: Scorecard) -> list[list[str]]:
    return [
        [markdown_text(row.name), *(markdown_code(fact) if fact else "" for fact in (row.recipe, row.path))]
        for row in card.rows
    ]


def _comparison(headers: list[str], rows: list[TableRow]) -> list[str]:
    return _markdown_table(headers, [[markdown_text(row.heading), *map(_cell, row.cells)] for row in rows])


def _cell(cell: TableCell) -> str:
    """A figure with its ratios below it."""
    return "<br>".join(cell.lines)


def _escaped(rows: Iterable[Sequence[str]]) -> list[list[str]]:
    """Rows of plain text, for a table."""
    return [[markdown_text(cell) for cell in row] for row in rows]


def _markdown_table(headers: list[str], rows: list[list[str]], align: str = "---:") -> list[str]:
    """Lines of a table: headers are plain text, cells of rows are Markdown."""

    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |"

    return [
        line(map(markdown_text, headers)),
        line(["---", *(align for _ in headers[1:])]),
        *(line(row) for row in rows),
    ]
