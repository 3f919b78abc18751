"""Rows of a file: JSON lines, JSON arrays, tables; one at a time."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

from compress.corpus.decode import LONGEST_LINE, lines
from compress.errors import UsageError

JSON_LINES = (".jsonl", ".ndjson")
JSON = (".json", *JSON_LINES)
TABLES = (".csv", ".tsv")
_DELIMITERS = ",;\t|"
_FAR_FROM_END = 12
"""characters from the end of what is read where a mistake is one, and not something that goes on"""


@dataclass(frozen=True)
class Record:
    """A row and its place, for messages; ``value`` is a dict by column where the file is one of rows.

    ``columns``: the names of all columns, where ``value`` doesn't have them.
    """

    where: str
    value: object
    columns: Sequence[str] | None = None


def json_rows(pieces: Iterator[str], path: Path) -> Iterator[Record]:
    """The values of JSON lines, of one array, or of one value after the other; blank lines are skipped.

    A file of one object that holds a single list, as ``{"data": […]}``, is that list. Raises UsageError with the line
    that is no JSON.
    """
    begin = ""
    for piece in pieces:
        begin += piece
        if begin.strip():
            break
    pieces = chain([begin], pieces)
    first, _, rest = begin.lstrip().partition("\n")
    has_lines = path.suffix.lower() in JSON_LINES
    if first.startswith("[") and not (has_lines and rest.strip() and _is_value(first)):
        yield from _Values(pieces, path).elements()
    elif has_lines or not first.startswith("{") or _is_value(first):
        yield from json_lines(pieces, path)
    else:
        yield from _unwrapped(_Values(pieces, path).values())


def json_lines(pieces: Iterator[str], path: Path) -> Iterator[Record]:
    """The value of each line that isn't blank."""
    for number, line in lines(pieces, path):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                yield Record(where, json.loads(line))
            except (ValueError, RecursionError) as error:
                raise UsageError(f"{where}: not JSON ({error})") from error


def table_rows(pieces: Iterator[str], path: Path) -> Iterator[Record]:
    """The rows of a table whose first line names the columns: quoted as by spreadsheets.

    Between columns are commas, ``;``, tabs or ``|``; a line that ends early has None in the others.
    """
    csv.field_size_limit(LONGEST_LINE)
    written = (f"{line}\n" for _, line in lines(pieces, path))
    header = next((line for line in written if line.strip()), "")
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(_DELIMITERS, key=header.count)
    reader = csv.reader(chain([header], written), delimiter=delimiter, strict=True)
    try:
        names = [name.strip() for name in next(reader)]
        for cells in reader:
            where = f"{path}, line {reader.line_num}"
            if len(cells) > len(names):
                raise UsageError(f"{where}: {len(cells)} columns, but the first line names {len(names)}")
            if cells:
                yield Record(where, dict(zip_longest(names, cells)))
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: no table row ({error})") from error


def _is_value(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _unwrapped(rows: Iterator[Record]) -> Iterator[Record]:
    """The rows; those in the only list of a single object."""
    first, second = next(rows), next(rows, None)
    entries = [] if second is not None else _only_list(first.value)
    if entries:
        yield from (Record(f"{first.where}, entry {i}", entry) for i, entry in enumerate(entries, start=1))
    else:
        yield from chain([first], [] if second is None else [second], rows)


def _only_list(value: object) -> list[object]:
    """The list of objects that an object holds besides plain facts; empty for one that is a row itself."""
    if not isinstance(value, dict) or {"messages", "conversations", "conversation"} & value.keys():
        return []
    lists = [entry for entry in value.values() if isinstance(entry, list) and entry]
    return lists[0] if len(lists) == 1 and all(isinstance(entry, dict) for entry in lists[0]) else []


class _Values:
    """JSON values out of pieces of a text, each decoded once it is read whole."""

    def __init__(self, pieces: Iterator[str], path: Path) -> None:
        self._pieces, self._path = pieces, path
        self._text, self._at, self._line = "", 0, 1
        self._decoder = json.JSONDecoder()

    def elements(self) -> Iterator[Record]:
        """The elements of an array."""
        self._skip("")
        self._at += 1
        while (char := self._skip(",")) != "]":
            if not char:
                raise UsageError(f"{self._path}, line {self._line}: not JSON (the array has no end)")
            yield self._value()
        self._at += 1
        if self._skip(""):
            raise UsageError(f"{self._path}, line {self._line}: not JSON (something follows the array)")

    def values(self) -> Iterator[Record]:
        """Values that follow each other."""
        while self._skip(""):
            yield self._value()

    def _skip(self, separators: str) -> str:
        """Skip blanks and separators; the next character, none at the end."""
        while True:
            while self._at < len(self._text):
                char = self._text[self._at]
                if not char.isspace() and char not in separators:
                    return char
                self._line += char == "\n"
                self._at += 1
            if not self._more():
                return ""

    def _more(self) -> bool:
        """Read another piece, as much again at least as there is of the value."""
        rest, size = [self._text[self._at :]], 0
        for piece in self._pieces:
            rest.append(piece)
            size += len(piece)
            if size >= len(rest[0]):
                break
        self._text, self._at = "".join(rest), 0
        if len(self._text) > LONGEST_LINE:
            raise UsageError(f"{self._path}, line {self._line}: a value is longer than {LONGEST_LINE:,} characters")
        return size > 0

    def _value(self) -> Record:
        where = f"{self._path}, line {self._line}"
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
                break
            except (ValueError, RecursionError) as error:
                if not (_may_go_on(error, len(self._text)) and self._more()):
                    raise UsageError(f"{where}: not JSON ({error})") from error
        self._line += self._text.count("\n", self._at, end)
        self._at = end
        return Record(where, value)


def _may_go_on(error: Exception, end: int) -> bool:
    """Whether a mistake may be that the text isn't read to its end."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.msg.startswith("Unterminated string") or error.pos >= end - _FAR_FROM_END
