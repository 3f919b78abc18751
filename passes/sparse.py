"""Pass ``sparse``: zeros anywhere, where they cost least."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from compress.passes.base.sparsity import Sparsity
from compress.passes.solvers.sparsity import unstructured

if TYPE_CHECKING:
    from compress.passes.solvers.sparsity import MaskRule


@dataclass(frozen=True)
class Sparse(Sparsity):
    """Zeros anywhere: the same share of every output row."""

    name: ClassVar[str] = "sparse"

    ratio: float = Field(0.5, gt=0, lt=1, description="share of the weights that become zero")

    @property
    def choose(self) -> MaskRule:
        """Mask without the share of the lowest scores."""
        return unstructured(self.ratio)
