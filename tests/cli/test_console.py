"""What the terminal shows: results on standard output, the rest on standard error."""

import io
import sys
import time

import pytest
from rich.console import Console as Terminal

from compress.cli.console import Console, command_line


def test_results_and_notices_go_their_own_ways(capsys):
    console = Console()
    console.say("wrote out/int8")
    console.notice("a [bracket] is no markup, and a line is never cut however long it is: " + "x" * 200)
    console.show(["name", "value"], [["int8", "y" * 100]])
    out, errors = capsys.readouterr()
    assert errors.splitlines()[0] == "wrote out/int8"
    assert errors.splitlines()[1].startswith("note: a [bracket] is no markup")
    assert errors.endswith("x" * 200 + "\n")
    assert console.notices == [errors.splitlines()[1].removeprefix("note: ")]
    assert "y" * 100 in out
    assert "int8" in out


def test_what_a_model_writes_moves_no_cursor_of_a_terminal(monkeypatch):
    """A file gets it as it is."""
    text = "def f():\n\treturn '\x1b[31m\u202e'"
    shown = []
    for is_terminal in (True, False):
        out = io.StringIO()
        out.isatty = lambda answer=is_terminal: answer
        monkeypatch.setattr(sys, "stdout", out)
        Console().write(text)
        shown.append(out.getvalue())
    assert shown == ["def f():\n\treturn '\\x1b[31m\\u202e'", text]


def test_a_file_gets_no_bar(capsys):
    console = Console()
    assert list(console.track(iter("abc"), "letters", total=3)) == ["a", "b", "c"]
    with console.status("reading"):
        pass
    assert capsys.readouterr() == ("", "")


def test_where_no_bar_can_be_long_work_prints_a_line_now_and_then(monkeypatch, capsys):
    console = Console()
    monkeypatch.setattr("compress.cli.console._SECONDS_WITHOUT_LINE", 0.0)
    assert list(console.track(iter("abc"), "letters", total=3)) == ["a", "b", "c"]
    assert list(console.track(iter("a"), "letters")) == ["a"]
    with console.status("reading"):
        time.sleep(0.1)
    console.phase("measuring speed")
    assert capsys.readouterr() == ("", "letters: 1 of 3\nletters: 1\nreading\nmeasuring speed\n")
    monkeypatch.setattr("compress.cli.console._SECONDS_BETWEEN_LINES", 0.0)
    assert list(console.track("abc", "letters")) == ["a", "b", "c"]
    assert capsys.readouterr().err == "letters: 1 of 3\nletters: 2 of 3\nletters: 3 of 3\n"


def test_a_terminal_needs_no_lines_for_phases():
    console, screen = Console(), io.StringIO()
    console.err = Terminal(file=screen, force_terminal=True, width=80)
    console.phase("measuring speed")
    assert screen.getvalue() == ""


def test_a_bar_appears_once_work_takes_long(monkeypatch):
    console, screen = Console(), io.StringIO()
    console.err = Terminal(file=screen, force_terminal=True, width=80)
    monkeypatch.setattr("compress.cli.console._SECONDS_WITHOUT_BAR", 60.0)
    assert list(console.track("abc", "letters")) == ["a", "b", "c"]
    assert "letters" not in screen.getvalue()
    monkeypatch.setattr("compress.cli.console._SECONDS_WITHOUT_BAR", 0.0)
    assert list(console.track("abc", "letters", unit="letters")) == ["a", "b", "c"]
    assert "letters" in screen.getvalue()
    assert "3/3" in screen.getvalue()


@pytest.mark.parametrize(
    ("args", "line"),
    [(["run", "m", "-p", "int8"], "compress run m -p int8"), (["gate", "my report"], "compress gate 'my report'")],
)
def test_a_run_can_be_typed_again(monkeypatch, args, line):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/compress", *args])
    assert command_line() == line


def test_a_narrow_terminal_folds_what_is_long():
    console, name = Console(), "encoder.layer.11.attention.output.dense"
    console.__dict__["out"] = Terminal(width=40, file=io.StringIO(), force_terminal=True, color_system=None)
    console.show(["layer", "worst", "s"], [[name, name, "0.1"]])
    text = console.out.file.getvalue()
    assert "…" not in text
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    assert ["".join(column) for column in zip(*cells, strict=True)] == [name, name, "0.1"]
