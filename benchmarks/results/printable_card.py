"""Scorecard whose text is printable, for every format that people read."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from compress.benchmarks.results.scorecard import Row, Scorecard
from compress.escape import printable

T = TypeVar("T")


def printable_card(card: Scorecard) -> Scorecard:
    """The card with controls in its names, notes and facts spelled out; figures are as they were."""
    return card.model_copy(
        update={
            "model": printable(card.model),
            "created": printable(card.created),
            "command": printable(card.command),
            "machine": {printable(part): printable(fact) for part, fact in card.machine.items()},
            "versions": {printable(name): printable(number) for name, number in card.versions.items()},
            "seconds": _keys(card.seconds),
            "notes": tuple(map(printable, card.notes)),
            "doubts": tuple(map(printable, card.doubts)),
            "tasks": _keys(card.tasks),
            "rows": tuple(map(_row, card.rows)),
        }
    )


def _row(row: Row) -> Row:
    return row.model_copy(
        update={
            "name": printable(row.name),
            "path": printable(row.path),
            "engine": printable(row.engine),
            "recipe": printable(row.recipe),
            "passes": tuple(replace(applied, text=printable(applied.text)) for applied in row.passes),
            "measures": _keys(row.measures),
            "unavailable": printable(row.unavailable),
        }
    )


def _keys(values: dict[str, T]) -> dict[str, T]:
    return {printable(key): value for key, value in values.items()}
