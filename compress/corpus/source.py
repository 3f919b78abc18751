"""Open what a user names as a text: a file, a folder of them, a data set of the hub, a column of either."""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from compress.corpus.chat import COLUMNS, RowText
from compress.corpus.decode import PIECE, decode, is_compressed
from compress.corpus.hub import SCHEME, HubDataset
from compress.corpus.parquet import SUFFIX as PARQUET
from compress.corpus.parquet import parquet_rows
from compress.corpus.rows import JSON, JSON_LINES, TABLES, Record, json_lines, json_rows, table_rows
from compress.errors import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_PLAIN = (".txt", ".text", ".md", ".rst", ".tex", ".html")
_WITH_COLUMNS = (*JSON, *TABLES, PARQUET)
_IN_FOLDERS = (*_PLAIN, *_WITH_COLUMNS)
_DESCRIPTIONS = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
"""files in which ``datasets`` describes a folder"""
_ARCHIVED = "__MACOSX"
"""where macOS's archives have files' attributes, under the files' names"""
_LONGEST_WORD = 1000
"""characters within which a word ends where it is none of a language without blanks"""
_BEGIN = 4 * PIECE
"""bytes within which the first line ends of a file that is entered at its lines"""


class TextSource(ABC):
    """A text of any length, read as a stream of pieces."""

    name: str

    @abstractmethod
    def read(self) -> Iterator[str]:
        """The text from its start."""

    def read_from(self, share: float) -> Iterator[str] | None:
        """The text from a place on, 0 its start and 1 its end; None where it can only be read from its start."""
        return None


@dataclass(frozen=True)
class InMemory(TextSource):
    """A text that is in memory."""

    text: str
    name: str

    def read(self) -> Iterator[str]:
        """The text in pieces."""
        return self._pieces(0)

    def read_from(self, share: float) -> Iterator[str] | None:
        """The text from the first word behind a character."""
        begin = int(share * len(self.text))
        return _from_next_word(self._pieces(begin)) if begin else self._pieces(0)

    def _pieces(self, start: int) -> Iterator[str]:
        return (self.text[begin : begin + PIECE] for begin in range(start, len(self.text), PIECE))


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
        begin = int(share * size)
        pieces = decode(self.path, begin)
        if not size:
            return None
        return _from_next_word(pieces) if begin else pieces


@dataclass(frozen=True)
class RowFile(FileSource):
    """A file of rows: JSON, a table or Parquet."""

    render: RowText

    def read(self) -> Iterator[str]:
        """The rows' texts, a blank line apart."""
        suffix = _suffix(self.path)
        if suffix == PARQUET:
            return _joined(parquet_rows(self.path, self._columns), self.render)
        rows = table_rows if suffix in TABLES else json_rows
        return _joined(rows(decode(self.path), self.path), self.render)

    def read_from(self, share: float) -> Iterator[str] | None:
        """The rows from a place on, of JSON lines and of Parquet in row groups; None for other files."""
        if _suffix(self.path) == PARQUET:
            return _joined(parquet_rows(self.path, self._columns, share), self.render)
        if _suffix(self.path) not in JSON_LINES or not _has_lines(self.path):
            return None
        begin = int(share * _size(self.path))
        pieces = decode(self.path, begin)
        return _joined(json_lines(_from_next_line(pieces) if begin else pieces, self.path), self.render)

    @property
    def _columns(self) -> Sequence[str]:
        return COLUMNS if self.render.column is None else [self.render.column]


@dataclass(frozen=True)
class Folder(TextSource):
    """A folder of texts: every file of a known suffix in it and below that isn't hidden, by name."""

    path: Path
    files: Sequence[TextSource]
    sizes: Sequence[int]

    @property
    def name(self) -> str:  # type: ignore[override]
        """The folder's name."""
        return self.path.resolve().name

    def read(self) -> Iterator[str]:
        """The files' texts, a blank line apart."""
        return _chained(file.read() for file in self.files)

    def read_from(self, share: float) -> Iterator[str] | None:
        """The text from the file at a place on, and from there inside it."""
        place = share * sum(self.sizes)
        for i, (file, size) in enumerate(zip(self.files, self.sizes, strict=True)):
            if place < size:
                inside = file.read_from(place / size)
                begin = self.files[i].read() if inside is None else inside
                return _chained(chain([begin], (later.read() for later in self.files[i + 1 :])))
            place -= size
        return None


@dataclass(frozen=True)
class HubText(TextSource):
    """A data set of the hub, read from its start."""

    dataset: HubDataset
    render: RowText

    @property
    def name(self) -> str:  # type: ignore[override]
        """The data set's address."""
        return self.dataset.address

    def read(self) -> Iterator[str]:
        """The rows' texts, a blank line apart."""
        return _joined(self.dataset.rows(), self.render)


def open_source(
    address: str | Path,
    tokenizer: PreTrainedTokenizerBase | None = None,
    notice: Callable[[str], None] | None = None,
) -> TextSource:
    """Open a text by what a user writes: ``FILE``, ``FOLDER`` or ``hf://datasets/…``, each with ``:COLUMN`` or without.

    A colon is part of the name where there is such a file. Chats are rendered by the ``tokenizer``'s template;
    ``notice`` is told what a user should know. Raises UsageError for what can't be read.
    """
    text, column = os.fspath(address), None
    if not text:
        raise UsageError("the name of a text is empty; write FILE, FOLDER or hf://datasets/OWNER/NAME")
    if not Path(text).exists() and ":" in text.removeprefix(SCHEME):
        text, _, column = text.rpartition(":")
        if not column:
            raise UsageError(f"{address} names no column after its colon; write FILE:COLUMN")
    render = RowText(tokenizer, column, notice or (lambda _: None))
    if text.startswith(SCHEME):
        return HubText(HubDataset.parse(text), render)
    return _open(Path(text), render)


def read_text(address: str | Path) -> str:
    """The text of a file in memory; a UsageError where it holds none."""
    text = "".join(open_source(address).read())
    if not text.strip():
        raise UsageError(f"{address} holds no text")
    return text


def _open(path: Path, render: RowText) -> TextSource:
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if _is_text(file, path, render.column) and file.is_file())
        if not files:
            raise UsageError(f"{path} holds no texts ({', '.join(s.removeprefix('.') for s in _IN_FOLDERS)})")
        return Folder(path, [_open(file, render) for file in files], [file.stat().st_size for file in files])
    if _suffix(path) in _WITH_COLUMNS:
        return RowFile(path, render)
    if render.column is not None:
        if not path.exists():
            raise UsageError(f"can't read the text {path} (No such file or directory)")
        raise UsageError(f"{path} is plain text, which has no column {render.column!r}; remove the colon and the name")
    return PlainFile(path)


def _is_text(file: Path, folder: Path, column: str | None) -> bool:
    """Whether a file in a folder is one of its texts, and has columns where one is named."""
    parts = file.relative_to(folder).parts
    if any(part.startswith(".") for part in parts) or _ARCHIVED in parts or file.name in _DESCRIPTIONS:
        return False
    return _suffix(file) in (_WITH_COLUMNS if column else _IN_FOLDERS)


def _suffix(path: Path) -> str:
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


def _joined(rows: Iterator[Record], render: RowText) -> Iterator[str]:
    """The texts of rows in pieces, with what separates them between."""
    first = True
    for text in render.texts(rows):
        if not first:
            yield render.separator
        first = False
        yield from (text[begin : begin + PIECE] for begin in range(0, len(text), PIECE))


def _chained(texts: Iterable[Iterator[str]]) -> Iterator[str]:
    """Texts, a blank line between those that hold any."""
    is_first = True
    for text in texts:
        begin = next((piece for piece in text if piece), None)
        if begin is None:
            continue
        if not is_first:
            yield "\n\n"
        is_first = False
        yield begin
        yield from text


def _from_next_word(pieces: Iterator[str]) -> Iterator[str]:
    """The text without its first word, which may be half of one; with it where there is none behind it."""
    first = next(pieces, "")
    blank = next((i for i, char in enumerate(first[:_LONGEST_WORD]) if char.isspace()), -1)
    yield first[blank + 1 :]
    yield from pieces


def _from_next_line(pieces: Iterator[str]) -> Iterator[str]:
    for piece in pieces:
        _, end, rest = piece.partition("\n")
        if end:
            yield rest
            break
    yield from pieces
