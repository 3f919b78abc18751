"""Tables on a terminal: with lines and folded cells, or compact with every row on one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console as Terminal
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

from compress.escape import printable_line

_GAP = 2
"""blanks between columns of a compact table"""
_SHORTEST = 12
"""characters that remain of what is shortened"""


@dataclass(frozen=True)
class Cells:
    """What a table has: a header for each column, and rows of cells."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]


def lined_table(cells: Cells) -> Table:
    """Lines between columns; what is too long is folded, so that nothing of a name is cut off."""
    columns = (Column(escape(printable_line(header)), overflow="fold") for header in cells.headers)
    table = Table(*columns, header_style="bold")
    for row in cells.rows:
        table.add_row(*(Text("\n".join(map(printable_line, cell.split("\n")))) for cell in row))
    return table


def fits(table: Table, terminal: Terminal) -> bool:
    """Whether no cell must be folded."""
    unbounded = terminal.options.update(max_width=10**6)
    return Measurement.get(terminal, unbounded, table).maximum <= terminal.width


def compact_table(cells: Cells, width: int) -> Table:
    """Blanks between columns, and every row on one line: the longest cells are shortened in their middle."""
    columns = [[printable_line(row[i]) for row in cells.rows] for i in range(len(cells.headers))]
    words = [max(map(cell_len, header.split()), default=0) for header in cells.headers]
    widths = [max(least, *map(cell_len, column)) for least, column in zip(words, columns, strict=True)]
    while sum(widths) + _GAP * (len(widths) - 1) > width:
        long = [i for i, size in enumerate(widths) if size > max(words[i], _SHORTEST)]
        if not long:
            break
        widths[max(long, key=widths.__getitem__)] -= 1
    table = Table(
        box=box.SIMPLE_HEAD, header_style="bold", show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0)
    )
    for header, size in zip(cells.headers, widths, strict=True):
        table.add_column(escape(printable_line(header)), width=size)
    for row in zip(*columns, strict=True):
        table.add_row(*(Text(shortened(cell, size)) for cell, size in zip(row, widths, strict=True)))
    return table


def shortened(text: str, width: int) -> str:
    """Text of that width at most, with an ellipsis for its middle: names differ where they begin and where they end."""
    if cell_len(text) <= width:
        return text
    end = (width - 1) // 2
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"
