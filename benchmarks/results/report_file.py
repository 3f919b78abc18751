"""Read and write report.json: one run, or several merged; and its JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter, ValidationError

from compress.benchmarks.results.plausibility import implausible
from compress.benchmarks.results.scorecard import SCHEMA, Scorecard
from compress.errors import UsageError
from compress.system.json_text import parse_json

NAME = "report.json"
_LARGEST = 256 << 20
"""Bytes of a report that is read: a run over 1,000 windows has some megabytes."""


class MergedReport(BaseModel, frozen=True):
    """Scorecards of several runs, of any models and machines."""

    schema_version: Literal[1] = 1
    cards: tuple[Scorecard, ...]


Document = Scorecard | MergedReport
"""Contents of a ``report.json``."""


def report_text(cards: Sequence[Scorecard]) -> str:
    """The text of a ``report.json``: one run's scorecard, or several merged."""
    report = cards[0] if len(cards) == 1 else MergedReport(cards=tuple(cards))
    return report.model_dump_json(indent=2) + "\n"


def schema() -> str:
    """The JSON Schema of ``report.json``, as ``docs/report.schema.json`` publishes it."""
    definitions = TypeAdapter(Document).json_schema(mode="serialization")
    published = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "report.json of compress",
        **definitions,
    }
    return json.dumps(published, indent=2) + "\n"


def read_cards(path: Path) -> list[Scorecard]:
    """Read the scorecards of a file, or of the ``report.json`` in a directory.

    Raises UsageError where it can't be read, is no report, is one of another schema version, or holds what no
    measurement gives.
    """
    file = path / NAME if path.is_dir() else path
    text = _read(file)
    try:
        content = parse_json(text, unique=True)
    except ValueError as error:
        raise UsageError(f"{file} is no JSON ({error}); name a {NAME} that `compress` wrote") from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version != SCHEMA:
        raise UsageError(
            f"{file} has schema version {version}, and this compress reads {SCHEMA}; score its variants again"
        )
    try:
        form = MergedReport if isinstance(content, dict) and "cards" in content else Scorecard
        if b'"rounds": [' in text:
            text = json.dumps(_with_launches(content)).encode()
        report = form.model_validate_json(text, strict=True)  # else true and "0.98" are numbers
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"{file} is no report of compress: {where}: {first['msg']}".replace(": : ", ": ")) from error
    cards = list(report.cards) if isinstance(report, MergedReport) else [report]
    if not cards:
        raise UsageError(f"{file} holds no run; name a {NAME} that `compress` wrote")
    if problem := next(filter(None, map(implausible, cards)), None):
        raise UsageError(f"{file} {problem}, which no measurement gives; score its variants again")
    return cards


def _with_launches(content: Any) -> Any:
    """The content of a report, with figures that were measured in a single launch as they are written now."""
    if isinstance(content, list):
        return [_with_launches(item) for item in content]
    if not isinstance(content, dict):
        return content
    content = {key: _with_launches(value) for key, value in content.items()}
    if isinstance(content.get("rounds"), list):
        rounds = content.pop("rounds")
        content["launches"] = [rounds] if rounds else []
    return content


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            text = stream.read(_LARGEST + 1)
    except OSError as error:
        raise UsageError(f"can't read {file} ({error.strerror}); name a {NAME} or the directory of one") from error
    if len(text) > _LARGEST:
        raise UsageError(f"{file} is larger than {_LARGEST >> 20} MiB, more than a report is; name a {NAME}")
    return text


def read_card(path: Path) -> Scorecard:
    """Read the scorecard of a single run; a UsageError also where there are several."""
    cards = read_cards(path)
    if len(cards) != 1:
        raise UsageError(f"{path} holds the scorecards of {len(cards)} runs; name the {NAME} of one")
    return cards[0]
