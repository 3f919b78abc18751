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
from compress.benchmarks.results.scorecard import Scorecard
from compress.benchmarks.results.table import TableCell, TableRow, comparison_table, groups, legend, length_tables

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
    """Scores of a variant for its model card: its figures beside the baselines', and what didn't help."""
    shown = [row.name for row in card.rows if row.role in ("original", "float") or row.name == name]
    lines = _comparison(*comparison_table(card, shown))
    about = [line for line in findings(card) if line.startswith(f"{name} ")]
    return "\n".join([*lines, "", *_items([*about, *card.notes[:1], *method_facts(card), *machine_facts(card)])])


def _merged(cards: Sequence[Scorecard]) -> str:
    headers, rows = overview(cards)
    complaints = [f"{card.model}: {line}" for card in cards for line in findings(card)]
    runs = [f"{card.model}, {card.created}, {card.read}: `{card.command}`" for card in cards]
    lines = [
        "# Report",
        "",
        *_markdown_table(headers, rows),
        "",
        "A figure in brackets is how many times the original's.",
        "",
    ]
    for card in cards:
        lines += _by_length(card, f"{card.model}, {card.created}: ")
    lines += ["## What didn't help", "", *(_items(complaints) or ["Nothing to complain of."])]
    lines += ["", "## Runs", "", *_items(runs), ""]
    return "\n".join(lines)


def markdown(card: Scorecard) -> str:
    """Report of one run: tables, findings, recipes, notes, method and machine."""
    lines = [f"# {card.model}", ""]
    if card.command:
        lines += ["```", card.command, "```", ""]
    for group in groups(card):
        lines += [*_comparison(*comparison_table(card, group)), ""]
    headers, effects = effect_table(card)
    if effects:
        lines += ["## What helped", "", *_markdown_table(headers, effects, "---"), "", EFFECTS, ""]
    lines += _by_length(card)
    lines += ["## What didn't help", ""]
    lines += _items(findings(card)) or ["Nothing to complain of: no variant is worse in anything."]
    lines += ["", "## Recipes", "", *_markdown_table(["variant", "recipe", "directory"], _recipes(card), "---"), ""]
    if card.notes:
        lines += ["## Notes", "", *_items(card.notes), ""]
    lines += ["## How it was measured", "", *_items(method_facts(card)), ""]
    lines += ["## Machine", "", *_items(machine_facts(card)), ""]
    return "\n".join(lines)


def _by_length(card: Scorecard, title: str = "") -> list[str]:
    """Sections by length and batch, with ``title`` before their headings; none where nothing was measured."""
    lines = []
    headers, gained = gain_table(card)
    if gained:
        lines += [f"## {title}Operators and length", "", *_markdown_table(headers, gained, "---"), "", GAINS, ""]
    if card.settings.cells:
        lines += [f"## {title}By length and batch", "", f"Ratios: {legend(card)}.", ""]
    for names in groups(card):
        for heads, rows in length_tables(card, names):
            lines += [*_comparison(heads, rows), ""]
    return lines


def _items(facts: Iterable[str]) -> list[str]:
    """Lines of a list."""
    return [f"- {fact}" for fact in facts]


def _recipes(card: Scorecard) -> list[list[str]]:
    return [[row.name, f"`{row.recipe}`" if row.recipe else "", f"`{row.path}`"] for row in card.rows]


def _comparison(headers: list[str], rows: list[TableRow]) -> list[str]:
    return _markdown_table(headers, [row.texts(_cell) for row in rows])


def _cell(cell: TableCell) -> str:
    """A figure with its ratios below it."""
    return "<br>".join(cell.lines)


def _markdown_table(headers: list[str], rows: list[list[str]], align: str = "---:") -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(headers), line(["---", *(align for _ in headers[1:])]), *(line(row) for row in rows)]
