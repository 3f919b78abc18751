"""Block of a model: the matrices that are compressed at one time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeVar

from torch import Tensor

from compress.modeling.spaces.folds import Fold
from compress.weights.forms import Weight
from compress.weights.stored import WeightReport

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

BlockRole = Literal["layer", "embedding", "head", "tied", "rest", "model"]


@dataclass
class Block:
    """A part of a model, by the checkpoint's names: its matrices (``weights``) and other tensors (``vectors``).

    Passes replace entries of the two; nothing else changes a model. What they make narrower or leave out, they also say
    of the variant's config (`WeightPass.resize`).

    ``role``: a repeated layer, the token embedding, the head, both of them in one (``tied``), or what is left over (the
    last norm, position tables), which has no weights, only vectors; or all of that in one (``model``). A pass that
    knows how it found a matrix and what that cost says so in ``reports``; for the others the runner compares what came
    with what was left. A layer that is ``dropped`` hands its inputs on as they are and isn't written. Nor is a
    ``draft``, which the layers are calibrated on and which comes again.
    """

    name: str
    role: BlockRole
    weights: dict[str, Weight]
    vectors: dict[str, Tensor]
    folds: Sequence[Fold] = ()
    reports: dict[str, WeightReport] = field(default_factory=dict)
    dropped: bool = False
    draft: bool = False

    @property
    def stack(self) -> str:
        """The path of the list that a layer is in."""
        return self.name.rpartition(".")[0]

    def numbered(self, index: int) -> Block:
        """A layer renamed to the layer ``index``; another block as it is."""
        if self.role != "layer":
            return self
        name = f"{self.stack}.{index}"

        def renamed(tensors: Mapping[str, T]) -> dict[str, T]:
            return {f"{name}{key.removeprefix(self.name)}": tensor for key, tensor in tensors.items()}

        weights, vectors, reports = renamed(self.weights), renamed(self.vectors), renamed(self.reports)
        return replace(self, name=name, weights=weights, vectors=vectors, folds=(), reports=reports)
