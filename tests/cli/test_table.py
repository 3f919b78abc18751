"""Tables of a terminal: whole where they fit, compact and shortened where it is narrow."""

import io

import pytest
from rich.console import Console as Terminal

from compress.cli.table import Cells, compact_table, fits, lined_table, shortened

NAME = "0.block_sparse_moe.experts.7.w2"


def drawn(table, width):
    terminal = Terminal(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    terminal.print(table)
    return [line.rstrip() for line in terminal.file.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [("w2", 2, "w2"), ("abcdefgh", 5, "ab…gh"), ("abcdefgh", 4, "ab…h"), (NAME, 20, "0.block_sp…erts.7.w2")],
)
def test_a_name_loses_its_middle(text, width, expected):
    assert shortened(text, width) == expected


def test_a_row_is_one_line_and_numbers_stay_whole():
    cells = Cells(["matrix", "output error, %"], [[NAME, "0.00123"], ["head", "–"]])
    assert drawn(compact_table(cells, 30), 30) == [
        "                       output",
        "                       error,",
        "matrix                 %",
        "─" * 30,
        "0.block_sp…perts.7.w2  0.00123",
        "head                   –",
    ]


def test_whether_a_table_fits():
    table = lined_table(Cells(["name"], [["x" * 20]]))
    assert [fits(table, Terminal(width=width)) for width in (23, 24)] == [False, True]
    assert drawn(table, 24)[3] == f"│ {'x' * 20} │"


def test_names_are_no_markup():
    for table in (lined_table(Cells(["[b]x"], [["[red]y\x1b"]])), compact_table(Cells(["[b]x"], [["[red]y\x1b"]]), 40)):
        text = "".join(drawn(table, 40))
        assert "[b]x" in text
        assert "[red]y\\x1b" in text
