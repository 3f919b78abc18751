"""Rows of a Parquet file, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compress.corpus.rows import Record
from compress.errors import MissingComponentError, UsageError
from compress.modeling.quiet import first_line

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

SUFFIX = ".parquet"
_BATCH = 64


def parquet_rows(path: Path, columns: Sequence[str], share: float = 0.0) -> Iterator[Record]:
    """The rows from the row group at a ``share`` (0…1) of the file on, with those of the ``columns`` that it has.

    All of its columns where it has none of these. Raises UsageError for a file that can't be read,
    MissingComponentError without pyarrow.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingComponentError("Parquet files need pyarrow: pip install 'compress-models[datasets]'") from error
    try:
        with pyarrow.parquet.ParquetFile(path, memory_map=True) as file:
            yield from _rows(file, path, columns, share)
    except OSError as error:
        raise UsageError(f"can't read the text {path} ({error.strerror or first_line(error)})") from error
    except Exception as error:  # pyarrow raises Python's own errors too, of names that are no UTF-8 and others
        raise UsageError(f"{path} is no Parquet file that can be read ({first_line(error)})") from error


def _rows(file: ParquetFile, path: Path, columns: Sequence[str], share: float) -> Iterator[Record]:
    names = file.schema_arrow.names
    read = [name for name in names if name.strip().lower() in columns or name in columns] or names
    begin = min(int(share * file.num_row_groups), max(file.num_row_groups - 1, 0))
    number = sum(file.metadata.row_group(i).num_rows for i in range(begin))
    groups = list(range(begin, file.num_row_groups))
    for batch in file.iter_batches(_BATCH, row_groups=groups, columns=read, use_threads=False):
        for value in batch.to_pylist():
            number += 1
            yield Record(f"{path}, row {number}", {name: _text(cell) for name, cell in value.items()}, names)


def _text(cell: object) -> object:
    """A cell as it is, but text that was stored as bytes."""
    try:
        return cell.decode() if isinstance(cell, bytes) and b"\0" not in cell else cell
    except UnicodeDecodeError:
        return cell
