r"""``report.tex``, for papers: a table for each run, with ``\usepackage{booktabs}``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from jinja2 import Environment, PackageLoader, StrictUndefined

from compress.benchmarks.comparison import groups, table
from compress.benchmarks.report import Format
from compress.benchmarks.scorecard import Scorecard

_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$", "–": "--",
}  # fmt: skip


class Latex(Format):
    """Lines are metrics, columns contenders; what is in brackets is how many times the baselines'."""

    name: ClassVar[str] = "latex"

    def files(self, cards: Sequence[Scorecard]) -> dict[str, str]:
        """The tables."""
        environment = Environment(
            loader=PackageLoader("compress.benchmarks", "."),
            block_start_string="<%", block_end_string="%>", variable_start_string="<<", variable_end_string=">>",
            comment_start_string="<#", comment_end_string="#>",
            autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip
        environment.filters["tex"] = escape
        tables = [(card, *_lines(card, names)) for card in cards for names in groups(card)]
        return {"report.tex": environment.get_template("report.tex.jinja").render(tables=tables)}


def _lines(card: Scorecard, names: Sequence[str]) -> tuple[str, str, list[str]]:
    """What the ratios are to, how the columns are aligned, and the table's lines, its header first."""
    (legend, *headers), rows = table(card, names)
    cells = [["", *headers], *([cell.replace("\n", " (") + ")" * ("\n" in cell) for cell in row] for row in rows)]
    return legend, "l" + "r" * len(headers), [" & ".join(map(escape, line)) for line in cells]


def escape(text: str) -> str:
    """Text as LaTeX shows it."""
    return "".join(_ESCAPES.get(letter, letter) for letter in text)
