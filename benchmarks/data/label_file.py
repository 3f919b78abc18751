"""Parse labeled text (TSV with a header, or JSON lines); `labels` interprets the fields."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compress.corpus.decode import decode
from compress.corpus.rows import JSON, json_rows
from compress.errors import UsageError

_OTHER_NAMES = {"text_pair": "text2"}


@dataclass(frozen=True)
class LabeledLine:
    """One line of labeled text: its place in the file, and its fields by name."""

    where: str
    fields: dict[str, object]

    def text(self, name: str) -> str:
        """The text in a field; a UsageError where it holds none."""
        value = self.field(name)
        if not isinstance(value, str) or not value.strip():
            raise UsageError(f"{self.where}: {name} holds no text")
        return value

    def number(self, name: str) -> float:
        """The finite number in a field; a UsageError where it holds none."""
        value = self.field(name)
        try:
            number = float(value) if isinstance(value, str | int | float) else float("nan")
        except ValueError:
            number = float("nan")
        if not abs(number) < float("inf"):
            raise UsageError(f"{self.where}: {name} {value!r} is no number")
        return number

    def field(self, name: str) -> object:
        """A field's value; a UsageError where the line lacks it."""
        if name not in self.fields:
            raise UsageError(f"{self.where}: no {name}; there are {', '.join(self.fields) or 'no fields'}")
        return self.fields[name]


def read_labeled_lines(path: Path, needed: tuple[str, ...]) -> list[LabeledLine]:
    """Read the lines of a file, JSON by its suffix (.jsonl, .json), else a table; each has the ``needed`` fields.

    Raises UsageError for a file that is missing, is empty, or lacks one of them. Tables have no quoting.
    """
    entries = _objects(path) if path.suffix.lower() in JSON else _table("".join(decode(path)), path, needed)
    if not entries:
        raise UsageError(f"{path} holds no labeled text")
    for entry in entries:
        for name in needed:
            entry.field(name)
    return entries


def _canonical(name: str) -> str:
    return _OTHER_NAMES.get(name, name)


def _objects(path: Path) -> list[LabeledLine]:
    entries = []
    for row in json_rows(decode(path), path):
        if not isinstance(row.value, dict):
            raise UsageError(f"{row.where}: no JSON object")
        entries.append(LabeledLine(row.where, {_canonical(name): value for name, value in row.value.items()}))
    return entries


def _table(raw: str, path: Path, needed: tuple[str, ...]) -> list[LabeledLine]:
    lines = [(number, line.rstrip("\r")) for number, line in enumerate(raw.split("\n"), start=1) if line.strip()]
    if not lines:
        return []
    (_, first), *rest = lines
    written = [name.strip() for name in first.split("\t")]
    header = [_canonical(name) for name in written]
    if missing := [name for name in needed if name not in header]:
        raise UsageError(
            f"{path} has no column {missing[0]} in its first line, but {', '.join(map(repr, written))}; "
            f"needed are {', '.join(needed)}, with tabs between"
        )
    entries = []
    for number, line in rest:
        cells = line.split("\t")
        if len(cells) != len(header):
            raise UsageError(f"{path}, line {number}: {len(cells)} columns, but the first line names {len(header)}")
        entries.append(LabeledLine(f"{path}, line {number}", dict(zip(header, cells, strict=True))))
    return entries
