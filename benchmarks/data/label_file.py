"""A file of labelled text: a table with tabs and a header, or JSON lines. What its fields mean is said elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.calibration.text import is_json_lines, json_lines, read_file
from compress.errors import UsageError

_OTHER_NAMES = {"text_pair": "text2"}


@dataclass(frozen=True)
class LabelledLine:
    """One line: where it is, for whoever has to mend it, and its fields by name."""

    where: str
    fields: dict[str, Any]

    def text(self, name: str) -> str:
        """A field that has to hold text."""
        found = self.field(name)
        if not isinstance(found, str) or not found.strip():
            raise UsageError(f"{self.where}: {name} holds no text")
        return found

    def number(self, name: str) -> float:
        """A field that has to hold a finite number."""
        found = self.field(name)
        try:
            value = float(found)
        except (TypeError, ValueError):
            value = float("nan")
        if not abs(value) < float("inf"):
            raise UsageError(f"{self.where}: {name} {found!r} is no number")
        return value

    def field(self, name: str) -> Any:
        """A field that has to be there."""
        if name not in self.fields:
            raise UsageError(f"{self.where}: no {name}; there are {', '.join(self.fields) or 'no fields'}")
        return self.fields[name]


def read_labelled_lines(path: Path, needed: tuple[str, ...]) -> list[LabelledLine]:
    """The lines of a file, JSON by its suffix (.jsonl), a table otherwise; fields that are ``needed`` are in each.

    Raises UsageError for a file that is missing, is empty, or lacks one of them. Tables have no quoting.
    """
    raw = read_file(path)
    entries = _objects(raw, path) if is_json_lines(path) else _table(raw, path, needed)
    if not entries:
        raise UsageError(f"{path} holds no labelled text")
    for entry in entries:
        for name in needed:
            entry.field(name)
    return entries


def _known(name: str) -> str:
    return _OTHER_NAMES.get(name, name)


def _objects(raw: str, path: Path) -> list[LabelledLine]:
    entries = []
    for number, found in json_lines(raw, path):
        where = f"{path}, line {number}"
        if not isinstance(found, dict):
            raise UsageError(f"{where}: no JSON object")
        entries.append(LabelledLine(where, {_known(name): value for name, value in found.items()}))
    return entries


def _table(raw: str, path: Path, needed: tuple[str, ...]) -> list[LabelledLine]:
    lines = [(number, line.rstrip("\r")) for number, line in enumerate(raw.split("\n"), start=1) if line.strip()]
    if not lines:
        return []
    (_, first), *rest = lines
    written = [name.strip() for name in first.split("\t")]
    header = [_known(name) for name in written]
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
        entries.append(LabelledLine(f"{path}, line {number}", dict(zip(header, cells, strict=True))))
    return entries
