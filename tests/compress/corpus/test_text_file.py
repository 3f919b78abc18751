"""Files of text: what is none, columns by name, pipes."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from compress.corpus.source import open_source, read_text
from compress.errors import UsageError


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"  \n", "holds no text"),
        ("a.txt", b"", "holds no text"),
        ("a.txt", b"ab\xff", r"no UTF-8 text \(byte 2\)"),
        ("a.jsonl", b'{"text": "a"}\n{"text": \n', "line 2: not JSON"),
        ("a.jsonl", b'{"text": "a"}\n\n{"txt": "b"}\n', 'line 3: no string under "text" or "content"'),
        ("a.jsonl", b"[1]\n", "line 1: no string"),
        ("a.jsonl", b"", "holds no text"),
        ("a.csv", b"", "holds no text"),
        ("a.csv", b"id,words\n1,a\n", "line 2: no string under .* there are id, words"),
        ("a.parquet", b"", "is no Parquet file"),
        ("a.json", b"[]", "holds no text"),
    ],
)
def test_bad_text_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_text(tmp_path / name)


ROWS = [{"text": "one", "mine": "1", "id": 7}, {"text": "two", "mine": "2", "id": 8}]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.tsv", "a.parquet", "with:colon.csv"])
def test_a_column_is_named_behind_a_colon(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif "json" in name:
        path.write_text(json.dumps(ROWS) if name == "a.json" else "\n".join(map(json.dumps, ROWS)))
    else:
        delimiter = "\t" if name.endswith("tsv") else ","
        rows = [["text", "mine", "id"], *([str(value) for value in row.values()] for row in ROWS)]
        path.write_text("\n".join(delimiter.join(row) for row in rows))
    assert read_text(path) == "one\n\ntwo"
    assert read_text(f"{path}:mine") == "1\n\n2"
    with pytest.raises(UsageError, match=r"(line|row) \d: no column 'absent'; there are "):
        read_text(f"{path}:absent")
    with pytest.raises(UsageError, match="names no column after its colon; write FILE:COLUMN"):
        read_text(f"{path}:")


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    """As in ``--eval <(zcat a.txt.gz)``."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text("some text"))
    writer.start()
    source = open_source(pipe)
    assert source.read_from(0.5) is None
    assert "".join(source.read()) == "some text"
    writer.join()
