"""Parquet files, a few rows at a time."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from compress.corpus.parquet import parquet_rows
from compress.errors import MissingComponentError, UsageError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Four row groups of 100 rows."""
    path = tmp_path / "a.parquet"
    table = pa.table({"text": [f"row {i}" for i in range(400)], "other": [bytes(9)] * 400})
    pq.write_table(table, path, row_group_size=100)
    return path


def test_rows(file: Path) -> None:
    rows = list(parquet_rows(file, ["content", "text"]))
    assert [row.value for row in rows] == [{"text": f"row {i}"} for i in range(400)]
    assert [rows[0].where, rows[-1].where] == [f"{file}, row 1", f"{file}, row 400"]
    assert next(parquet_rows(file, ["messages"])).value == {"text": "row 0", "other": bytes(9)}


def test_text_that_is_stored_as_bytes(tmp_path: Path) -> None:
    """As Spark stores it; and columns in another case."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"Text": ["é".encode(), b"\xe9"], "id": [1, 2]}), path)
    rows = list(parquet_rows(path, ["text"]))
    assert [row.value for row in rows] == [{"Text": "é"}, {"Text": b"\xe9"}]
    assert rows[0].columns == ["Text", "id"]


@pytest.mark.parametrize(("share", "first"), [(0.2, 0), (0.5, 200), (0.99, 300), (1.0, 300)])
def test_from_a_row_group_on(file: Path, share: float, first: int) -> None:
    row = next(parquet_rows(file, ["text"], share))
    assert (row.value, row.where) == ({"text": f"row {first}"}, f"{file}, row {first + 1}")


def test_what_can_not_be_read(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "b.parquet"
    broken.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(UsageError, match=r"b\.parquet is no Parquet file that can be read \("):
        list(parquet_rows(broken, ["text"]))
    broken.write_bytes(file.read_bytes().replace(b"\x04text", b"\x04te\x8ct"))
    with pytest.raises(UsageError, match=r"b\.parquet is no Parquet file that can be read \("):
        list(parquet_rows(broken, ["text"]))
    with pytest.raises(UsageError, match=r"can't read the text .*absent\.parquet \("):
        list(parquet_rows(tmp_path / "absent.parquet", ["text"]))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingComponentError, match=r"pip install 'compress-models\[datasets\]'"):
        list(parquet_rows(file, ["text"]))
