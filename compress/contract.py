"""The pass contract: what a technique says of itself, and what it promises.

A pass is a frozen pydantic dataclass: its fields are its options, their descriptions carry the units. The command
line, the manifest, the docs and the report all read them from there. Subclassing `WeightPass` or `GraphPass` with a
``name`` registers it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import IntEnum
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic.fields import FieldInfo

from compress.errors import unknown
from compress.weight import Dense, Weight

if TYPE_CHECKING:
    import onnx_ir as ir

    from compress.block import Block
    from compress.model import Model
    from compress.statistics import InputStatistics

_registry: dict[str, type[Pass]] = {}


class Statistic(IntEnum):
    """What a pass reads of a linear's inputs; each level holds what the ones before it hold."""

    NONE = 0
    AMAX = 1
    """max |x_j| of every input channel"""
    SQUARE = 2
    """E[x_j²] of every input channel"""
    GRAM = 3
    """E[x xᵀ]"""


class Pass(ABC):
    """One technique."""

    name: ClassVar[str]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" in cls.__dict__:
            _registry[cls.name] = cls

    def __str__(self) -> str:
        """The pass as written on the command line: its name and what differs from the defaults."""
        given = {key: getattr(self, key) for key in self.options()}
        changed = [f"{key}={value}" for key, value in given.items() if value != self.options()[key].default]
        return ":".join([self.name, *changed])

    def settle(self, model: Model) -> Self:
        """The same pass with everything that its defaults leave open decided for this model.

        Called before any weight is read: a pass that can't work on this model raises UsageError here.
        """
        return self

    @classmethod
    def options(cls) -> dict[str, FieldInfo]:
        """The pass's options by name, each with its type, default, bounds and description."""
        return getattr(cls, "__pydantic_fields__", {})


class WeightPass(Pass):
    """Changes how weights are stored."""

    accepts: ClassVar[tuple[type, ...]] = (Dense,)
    produces: ClassVar[tuple[type, ...]]

    def needs(self) -> Statistic:
        """The statistics that `run` reads; NONE spares the calibration."""
        return Statistic.NONE

    def run(self, block: Block, stats: InputStatistics) -> None:
        """Change a block's weights in place; by default, each linear by itself through `apply`."""
        for name, weight in block.weights.items():
            block.weights[name] = self.apply(name, weight, stats)

    @abstractmethod
    def apply(self, name: str, weight: Weight, stats: InputStatistics) -> Weight:
        """The matrix ``name`` in its new form; its inputs' statistics, if there are any, are ``stats[name]``."""


class GraphPass(Pass):
    """Changes which operators run. The graph is float when it comes here; weights are lowered afterwards."""

    @abstractmethod
    def rewrite(self, model: ir.Model) -> int:
        """Rewrite in place and return how many places changed."""


def passes() -> dict[str, type[Pass]]:
    """Every known pass by name: the project's and third parties' (entry-point group ``compress.passes``)."""
    for entry in entry_points(group="compress.passes"):
        entry.load()
    return dict(sorted(_registry.items()))


def find(name: str) -> type[Pass]:
    """The pass of that name; a UsageError with the nearest one where there is none."""
    known = passes()
    if name not in known:
        raise unknown("pass", name, known)
    return known[name]
