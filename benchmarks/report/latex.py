r"""LaTeX report for papers: a table for each run, with ``\usepackage{booktabs}``."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import ClassVar

from jinja2 import Environment, PackageLoader, StrictUndefined

from compress.benchmarks.report.base import Report, ReportFormat
from compress.benchmarks.results.kinds import PLANS
from compress.benchmarks.results.scorecard import Scorecard
from compress.benchmarks.results.table import TableCell, TableRow, comparison_table, groups, legend, length_tables
from compress.escape import printable

_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "`": r"\`{}", "[": "{[}", "]": "{]}",
    "±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$", "–": "--", "—": "---", "…": r"\dots{}", "°": r"$^\circ$",
    "µ": r"$\mu$", "μ": r"$\mu$", "ρ": r"$\rho$", "≤": r"$\leq$", "≥": r"$\geq$", "→": r"$\to$", "²": r"$^2$",
    "’": "'", "‘": "`", "“": "``", "”": "''", "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "ø": r"\o{}", "Ø": r"\O{}",
    "œ": r"\oe{}", "Œ": r"\OE{}", "ł": r"\l{}", "Ł": r"\L{}", "\N{NO-BREAK SPACE}": "~",
}  # fmt: skip
_ACCENTS = {
    "GRAVE ACCENT": "`", "ACUTE ACCENT": "'", "CIRCUMFLEX ACCENT": "^", "TILDE": "~", "DIAERESIS": '"', "MACRON": "=",
    "BREVE": "u", "CARON": "v", "CEDILLA": "c", "RING ABOVE": "r", "DOT ABOVE": ".", "DOUBLE ACUTE ACCENT": "H",
}  # fmt: skip
"""LaTeX's commands for Unicode's combining marks."""


_SHORT, _LONG = "report.tex", "report.long.tex"
_LONGEST_NAME = 10
"""characters of a name beyond which it is set in several lines"""
_BREAK = r" \\ "
_SHORT_ABREAST = 2
"""variants beside the baselines in a table that fits a column"""


class Latex(ReportFormat):
    """``report.tex`` has five figures of each contender, in the width of a column; ``report.long.tex`` has them all.

    Lines are metrics, columns contenders; ratios to the original, or in the long tables to both baselines, are in
    brackets.
    """

    name: ClassVar[str] = "latex"

    def files(self, report: Report) -> dict[str, str]:
        """Tables of every run, a few variants at a time; the long ones by length and batch too."""
        environment = Environment(
            loader=PackageLoader("compress.benchmarks.report", "."),
            block_start_string="<%",
            block_end_string="%>",
            variable_start_string="<<",
            variable_end_string=">>",
            comment_start_string="<#",
            comment_end_string="#>",
            autoescape=False,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters["tex"] = escape
        environment.filters["label"] = lambda name: re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "model"
        template = environment.get_template("tex.jinja")
        short = [
            (card, "", _headed(headers, rows, _short_cell, _stacked), f"× {card.original.name}")
            for card in report.cards
            for names in groups(card, _SHORT_ABREAST)
            for headers, rows in [comparison_table(card, names, PLANS[card.kind].compared)]
            if rows
        ]
        long = [
            (card, title, _headed(headers, rows, _cell, escape), legend(card))
            for card in report.cards
            for names in groups(card)
            for title, headers, rows in [("", *comparison_table(card, names)), *_by_length(card, names)]
        ]
        return {
            _SHORT: template.render(tables=short, environment="table", suffix=""),
            _LONG: template.render(tables=long, environment="table*", suffix="-long"),
        }


def _by_length(card: Scorecard, names: Sequence[str]) -> list[tuple[str, list[str], list[TableRow]]]:
    return [(f"{headers[0]}, by length and batch: ", headers, rows) for headers, rows in length_tables(card, names)]


def _headed(
    headers: list[str], rows: list[TableRow], layout: Callable[[TableCell], str], head: Callable[[str], str]
) -> tuple[str, list[str]]:
    """Column alignment, and the table's lines, its header first."""
    lines = [" & ".join(map(escape, row.texts(layout))) for row in rows]
    return "l" + "r" * (len(headers) - 1), [" & ".join(["", *map(head, headers[1:])]), *lines]


def _stacked(name: str) -> str:
    """A contender's name, its steps and options below each other where it is long."""
    parts = [escape(part) for part in re.findall(r"[^,:]+[,:]?", name)] if len(name) > _LONGEST_NAME else []
    return rf"\shortstack[r]{{{_BREAK.join(parts)}}}" if len(parts) > 1 else escape(name)


def _short_cell(cell: TableCell) -> str:
    """A figure without its spread, and its ratio to the original in brackets."""
    figure = cell.text.partition(" ± ")[0]
    return f"{figure} ({cell.ratios[0]})" if cell.ratios else figure


def _cell(cell: TableCell) -> str:
    """A figure with its ratios in brackets."""
    return f"{cell.text} ({' · '.join(cell.ratios)})" if cell.ratios else cell.text


def escape(text: str) -> str:
    """Escape text for LaTeX; what pdflatex has no letter for (emoji, other scripts) goes by its number in Unicode."""
    return "".join(map(_letter, printable(text)))


def _letter(letter: str) -> str:
    if letter in _ESCAPES or letter.isascii():
        return _ESCAPES.get(letter, letter)
    decomposed = unicodedata.normalize("NFD", letter)
    base, accent = decomposed[0], _ACCENTS.get(unicodedata.name(decomposed[-1], "").removeprefix("COMBINING "))
    if len(decomposed) == 2 and accent is not None and base.isascii():
        return f"\\{accent}{{{base}}}"
    return rf"{{\ttfamily U+{ord(letter):04X}}}"
