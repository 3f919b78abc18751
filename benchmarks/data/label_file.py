"""Parse labeled text (TSV with a header, or JSON lines); `labels` interprets the fields."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compress.calibration.text import is_json_lines, json_lines, read_file
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
    """Read the lines of a file, JSON by its suffix (.jsonl), else a table; each has the ``needed`` fields.

    Raises UsageError for a file that is missing, is empty, or lacks one of them. Tables have no quoting.
    """
    raw = read_file(path)
    entries = _objects(raw, path) if is_json_lines(path) else _table(raw, path, needed)
    if not entries:
        raise UsageError(f"{path} holds no labeled text")
    for entry in entries:
        for name in needed:
            entry.field(name)
    return entries


def _canonical(name: str) -> str:
    return _OTHER_NAMES.get(name, name)


def _objects(raw: str, path: Path) -> list[LabeledLine]:
    entries = []
    for number, content in json_lines(raw, path):
        where = f"{path}, line {number}"
        if not isinstance(content, dict):
            raise UsageError(f"{where}: no JSON object")
        entries.append(LabeledLine(where, {_canonical(name): value for name, value in content.items()}))
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
