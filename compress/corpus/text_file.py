"""File of text as a stream: plain text, or rows of JSON, a table or Parquet."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from compress.corpus.chat import COLUMNS, RowText
from compress.corpus.decode import PIECE, decode, is_compressed
from compress.corpus.parquet import SUFFIX as PARQUET
from compress.corpus.parquet import parquet_rows
from compress.corpus.rows import JSON, JSON_LINES, TABLES, json_lines, json_rows, table_rows
from compress.corpus.stream import TextSource, from_next_line, from_next_word

PLAIN = (".txt", ".text", ".md", ".rst", ".tex", ".html")
"""Suffixes of plain text, as folders have it; a file of any other suffix is read as such too where it is named."""
WITH_COLUMNS = (*JSON, *TABLES, PARQUET)
"""Suffixes of files of rows."""
_BEGIN = 4 * PIECE
"""bytes within which the first line ends of a file that is entered at its lines"""


@dataclass(frozen=True)
class FileSource(TextSource):
    """A text that is in one file."""

    path: Path

    @property
    def name(self) -> str:  # type: ignore[override]
        """The file's name."""
        return self.path.name


@dataclass(frozen=True)
class PlainFile(FileSource):
    """A file of plain text."""

    def read(self) -> Iterator[str]:
        """The text, decoded."""
        return decode(self.path)

    def read_from(self, share: float) -> Iterator[str] | None:
        """The text from the first word behind a byte; None for what can't be entered anywhere."""
        size = _size(self.path)
        if not size:
            return None
        begin = int(share * size)
        pieces = decode(self.path, begin)
        return from_next_word(pieces) if begin else pieces


@dataclass(frozen=True)
class RowFile(FileSource):
    """A file of rows: JSON, a table or Parquet."""

    render: RowText

    def read(self) -> Iterator[str]:
        """The rows' texts, a blank line apart."""
        kind = suffix(self.path)
        if kind == PARQUET:
            return self.render.pieces(parquet_rows(self.path, self._columns))
        rows = table_rows if kind in TABLES else json_rows
        return self.render.pieces(rows(decode(self.path), self.path))

    def read_from(self, share: float) -> Iterator[str] | None:
        """The rows from a place on, of JSON lines and of Parquet in row groups; None for other files."""
        if suffix(self.path) == PARQUET:
            return self.render.pieces(parquet_rows(self.path, self._columns, share))
        if suffix(self.path) not in JSON_LINES or not _has_lines(self.path):
            return None
        begin = int(share * _size(self.path))
        pieces = decode(self.path, begin)
        return self.render.pieces(json_lines(from_next_line(pieces) if begin else pieces, self.path))

    @property
    def _columns(self) -> Sequence[str]:
        return COLUMNS if self.render.column is None else [self.render.column]


def suffix(path: Path) -> str:
    """The suffix that says what a file holds: that before ``.gz``."""
    return Path(path.stem).suffix.lower() if is_compressed(path) else path.suffix.lower()


def _size(path: Path) -> int:
    """Bytes of a file that can be entered anywhere; 0 of a pipe or one that is compressed."""
    try:
        status = path.stat()
    except OSError:
        return 0
    return 0 if is_compressed(path) or not stat.S_ISREG(status.st_mode) else status.st_size


def _has_lines(path: Path) -> bool:
    """Whether JSON lines can be entered at one: no array, and no first line that is long."""
    if not _size(path):
        return False
    with path.open("rb") as file:
        begin = file.read(_BEGIN)
    return b"\n" in begin and not begin.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
