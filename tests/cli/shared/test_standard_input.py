"""What is read of standard input, typed or piped."""

import io

import pytest

from compress.cli.console import Console
from compress.cli.shared.standard_input import is_terminal, read_lines, read_text


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("text", "everything", "lines"),
    [("", "", []), ("one\ntwo", "one\ntwo", ["one", "two"]), ("\n one \n\n", "\n one \n", ["one"])],
)
def test_text_and_lines(monkeypatch, capsys, text, everything, lines):
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert read_text() == everything
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert (list(read_lines(Console())), is_terminal(), capsys.readouterr().out) == (lines, False, "")


def test_a_terminal_shows_where_to_type(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", Terminal("hello\n\n"))
    assert is_terminal()
    assert list(read_lines(Console())) == ["hello"]
    assert capsys.readouterr().out == "> > > "


def test_bytes_that_are_no_text_are_replaced(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a\xffb\n"), encoding="utf-8"))
    assert read_text() == "a\N{REPLACEMENT CHARACTER}b"


def test_a_closed_one_is_empty(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    assert (read_text(), list(read_lines(Console())), is_terminal()) == ("", [], False)
