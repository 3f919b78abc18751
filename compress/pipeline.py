"""The pipeline: passes in the order in which they are written, parsed and checked before any weight is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from pydantic import ValidationError

from compress.contract import GraphPass, Pass, WeightPass, find
from compress.errors import UsageError, unknown
from compress.weight import Dense


@dataclass(frozen=True)
class Pipeline:
    """Passes in order. Weight passes apply one after another; graph passes apply at export, wherever they stand."""

    passes: tuple[Pass, ...]

    @classmethod
    def parse(cls, text: str) -> Pipeline:
        """Read ``int8:group=32,fuse``; a UsageError says what is wrong and what would be right."""
        items = [item.strip() for item in text.split(",")]
        if not all(items):
            raise UsageError(f"pipeline {text!r} has an empty pass; write it like int8:group=32,fuse")
        pipeline = cls(tuple(map(parse_pass, items)))
        pipeline.check()
        return pipeline

    def check(self) -> None:
        """Refuse an order that can't work, with the reason and the order that would."""
        reason = _conflict(self.weight_passes)
        if reason is None:
            return
        for order in permutations(self.weight_passes):
            if _conflict(order) is None:
                works = ",".join(map(str, [*order, *self.graph_passes]))
                raise UsageError(f"pipeline {self}: {reason}; this order works: {works}")
        raise UsageError(f"pipeline {self}: {reason}, and no other order works; leave one of them out")

    @property
    def weight_passes(self) -> tuple[WeightPass, ...]:
        """Those that change how weights are stored."""
        return tuple(p for p in self.passes if isinstance(p, WeightPass))

    @property
    def graph_passes(self) -> tuple[GraphPass, ...]:
        """Those that change which operators run."""
        return tuple(p for p in self.passes if isinstance(p, GraphPass))

    @property
    def slug(self) -> str:
        """The name of the variant's directory: ``int8-group-32-fuse``."""
        return "-".join(str(self).replace("=", "-").replace(":", "-").replace(",", "-").split("/"))

    def __str__(self) -> str:
        return ",".join(map(str, self.passes))


def parse_pass(text: str) -> Pass:
    """Read one pass with its options, ``int8:group=32``."""
    name, *options = text.split(":")
    kind = find(name)
    known = kind.options()
    values: dict[str, Any] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals or not value:
            raise UsageError(f"pass {name!r}: option {option!r} has no value; write it like {key or 'option'}=value")
        if key not in known:
            raise unknown(f"option of {name!r}", key, known) if known else UsageError(f"pass {name!r} has no options")
        if key in values:
            raise UsageError(f"pass {name!r}: option {key!r} is given twice")
        values[key] = value
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"][:1])) or "options"
        said = first["msg"].removeprefix("Value error, ").replace("Input should be", "it should be")
        raise UsageError(f"pass {name!r}: {where}={values.get(where, '')}: {said}") from None


def _conflict(order: Sequence[WeightPass]) -> str | None:
    """Why a pass in this order would meet a weight form that it doesn't accept, or None."""
    forms: tuple[type, ...] = (Dense,)
    before: WeightPass | None = None
    for item in order:
        if not set(forms) <= set(item.accepts):
            made = ", ".join(form.__name__ for form in forms)
            takes = ", ".join(form.__name__ for form in item.accepts)
            return (
                f"{item.name} works on {takes} weights, but {before.name if before else 'the model'} may leave {made}"
            )
        forms, before = item.produces, item
    return None
