"""Rows of JSON and of tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compress.corpus.rows import json_rows, table_rows
from compress.errors import UsageError

ROWS = [{"text": 'one, "two"\n'}, {"text": "é\u2028x", "id": [1, {"a": []}]}, {"text": ""}]


def cut(content: str, size: int) -> list[str]:
    return [content[i : i + size] for i in range(0, len(content), size)]


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", "\n\n" + "\n\n".join(map(json.dumps, ROWS))),
        ("a.json", "\r\n".join(map(json.dumps, ROWS)) + "\r\n"),
        ("a.json", json.dumps(ROWS)),
        ("a.jsonl", "\n" + json.dumps(ROWS, indent=2) + "\n"),
        ("a.json", "[" + ",\n".join(map(json.dumps, ROWS)) + "]"),
        ("a.json", "\n".join(json.dumps(row, indent=2) for row in ROWS)),
        ("a.json", json.dumps({"version": 1, "data": ROWS}, indent=1)),
    ],
)
def test_json(name: str, content: str, size: int) -> None:
    assert [row.value for row in json_rows(iter(cut(content, size)), Path(name))] == ROWS


def test_an_object_alone_is_a_row() -> None:
    for row in ({"messages": [{"role": "user", "content": "a"}]}, {"text": "a"}):
        assert [r.value for r in json_rows(iter([json.dumps(row, indent=1)]), Path("a.json"))] == [row]


def test_lines_of_lists() -> None:
    """Each a chat."""
    content = '[{"role": "user"}]\n[{"role": "user"}, {"role": "bot"}]\n'
    values = [row.value for row in json_rows(iter(cut(content, 100)), Path("a.jsonl"))]
    assert values == [[{"role": "user"}], [{"role": "user"}, {"role": "bot"}]]
    assert [row.value for row in json_rows(iter([content.splitlines()[1]]), Path("a.jsonl"))] == values[1]


def test_rows_know_their_line() -> None:
    assert [row.where for row in json_rows(iter(['\n{"a":\n1}\n{}{}']), Path("a.json"))] == [
        "a.json, line 2", "a.json, line 4", "a.json, line 4",
    ]  # fmt: skip
    assert [row.where for row in json_rows(iter(['[{},\n{"a":\n1},{}]']), Path("a.json"))] == [
        "a.json, line 1", "a.json, line 2", "a.json, line 3",
    ]  # fmt: skip
    assert [row.where for row in table_rows(iter(['a\n"x\ny"\nz\n']), Path("a.csv"))] == [
        "a.csv, line 3", "a.csv, line 4",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"text": "a"}\n{"text": \n', "line 2: not JSON"),
        ("a.json", '[{"text": "a"},\n{"text": }]', "line 2: not JSON"),
        ("a.json", '[{"text": "a"},', "not JSON (the array has no end)"),
        ("a.json", '[{"text": "a', "line 1: not JSON (Unterminated string"),
        ("a.json", '[{}] {"text": "a"}', "not JSON (something follows the array)"),
        ("a.json", '{"text":\n "a"', "line 1: not JSON"),
        ("a.json", "text", "line 1: not JSON"),
        ("a.jsonl", "[" * 100_000, "line 1: not JSON"),
        ("a.jsonl", '{"a": ' * 100_000, "line 1: not JSON"),
        ("a.jsonl", "1" * 5000, "line 1: not JSON"),
    ],
)
def test_what_is_no_json(name: str, content: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        list(json_rows(iter(cut(content, 1000)), Path(name)))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'id,text\r\n1,"one, ""two"""\r\n\r\n2,"a\nb"\r\n'),
        ("a.csv", 'id;text\n1;"one, ""two"""\n2;"a\nb"'),
        ("a.csv", 'id|text\n1|"one, ""two"""\n2|"a\nb"'),
        ("a.tsv", '\nid\ttext\n1\t"one, ""two"""\n2\t"a\nb"\n'),
    ],
)
def test_tables(name: str, content: str) -> None:
    assert [row.value for row in table_rows(iter(cut(content, 3)), Path(name))] == [
        {"id": "1", "text": 'one, "two"'},
        {"id": "2", "text": "a\nb"},
    ]


def test_a_table_with_too_few_columns() -> None:
    rows = table_rows(iter(["a,b\n1\n1,2\n"]), Path("a.csv"))
    assert [row.value for row in rows] == [{"a": "1", "b": None}, {"a": "1", "b": "2"}]


def test_a_quote_without_its_end() -> None:
    with pytest.raises(UsageError, match=r"a\.csv, line 3: no table row \(unexpected end of data\)"):
        list(table_rows(iter(['a,b\n1,"2\n3,4\n']), Path("a.csv")))


def test_a_table_with_too_many_columns() -> None:
    with pytest.raises(UsageError, match=r"a\.csv, line 2: 3 columns, but the first line names 2"):
        list(table_rows(iter(["a,b\n1,2,3\n"]), Path("a.csv")))
    assert list(table_rows(iter([""]), Path("a.csv"))) == []
