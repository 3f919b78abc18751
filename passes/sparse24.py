"""Pass ``sparse24``: two zeros in every four inputs, the pattern of sparse tensor cores."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic.dataclasses import dataclass

from compress.errors import UsageError
from compress.passes.base.skip import Skipped
from compress.passes.base.sparsity import Sparsity
from compress.passes.solvers.sparsity import two_of_four

if TYPE_CHECKING:
    from compress.checkpoint.base import ModelOutline
    from compress.passes.solvers.sparsity import MaskRule
    from compress.pipeline.contract import TargetCapability


@dataclass(frozen=True)
class Sparse24(Sparsity):
    """Two zeros in every four inputs, aligned: the pattern that sparse tensor cores read."""

    name: ClassVar[str] = "sparse24"
    width: ClassVar[int] = 4

    @property
    def choose(self) -> MaskRule:
        """Mask of the two highest scores in every four inputs."""
        return two_of_four

    def resolve(self, model: ModelOutline, target: TargetCapability) -> Self:
        """Refuse matrices whose inputs don't come in fours."""
        for name in model.matrices:
            inputs = model.shape(name)[1]
            if inputs % 4 and name not in Skipped(self.skip):
                raise UsageError(
                    f"sparse24: 4 doesn't divide the {inputs} inputs of {name}; leave it out with skip={name}"
                )
        return super().resolve(model, target)
