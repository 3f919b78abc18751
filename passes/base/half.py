"""Half precision: the same numbers in 16 bits, all of a model's tensors."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from compress.errors import PassError
from compress.lazy import torch
from compress.passes.solvers.by_factor import each_factor
from compress.pipeline.contract import WeightPass
from compress.weights.forms import Dense, Factored, Masked, leaves
from compress.weights.stored import WeightReport

if TYPE_CHECKING:
    from torch import Tensor

    from compress.calibration.block import Block, BlockRole
    from compress.calibration.layer_inputs import BlockInputs
    from compress.calibration.statistics import InputStatistics
    from compress.weights.forms import Weight
    from compress.weights.stored import StoredForm


class Half(WeightPass):
    """Conversion to a 16-bit float format."""

    accepts: ClassVar[tuple[type, ...]] = (Dense, Masked, Factored)
    produces: ClassVar[tuple[type, ...]] = ()

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Type of the tensors that are left."""

    def run(self, block: Block, inputs: BlockInputs) -> None:
        """Convert matrices and vectors, and report the numbers that underflow."""
        weights, vectors = dict(block.weights), dict(block.vectors)
        super().run(block, inputs)
        block.vectors.update({name: self._convert(name, vector) for name, vector in vectors.items()})
        for name, weight in weights.items():
            if (converted := block.weights[name]) is not weight:
                pairs = zip(leaves(weight), leaves(converted), strict=True)
                lost = sum(_underflow(old.dequantize(), new.dequantize()) for old, new in pairs)
                block.reports[name] = self._report(weight.dequantize(), converted.dequantize(), lost)
        for name, vector in vectors.items():
            if lost := _underflow(vector, block.vectors[name]):
                block.reports[name] = self._report(vector.float(), block.vectors[name].float(), lost)

    def apply(self, name: str, weight: Weight, stats: InputStatistics) -> Weight:
        """Convert one matrix to 16 bits, its mask kept; or both factors of one."""

        def halved(leaf: Dense) -> Dense:
            tensor = self._convert(name, leaf.tensor)
            return leaf if tensor is leaf.tensor else replace(leaf, tensor=tensor)

        return each_factor(type(self).__name__, name, weight, halved)

    def predict(self, name: str, role: BlockRole, stored: StoredForm) -> StoredForm:
        """Predict two bytes a number."""

        def halved(leaf: StoredForm) -> StoredForm:
            nbytes = leaf.shape[0] * leaf.shape[1] * self.vector_itemsize(leaf.itemsize)
            return leaf.model_copy(update={"nbytes": nbytes})

        return stored.changed(halved)

    def vector_itemsize(self, itemsize: int) -> int:
        """Bytes of a vector's number: two, or as before."""
        return min(itemsize, 2)

    def _report(self, exact: Tensor, stored: Tensor, underflow: int) -> WeightReport:
        return WeightReport.of(self.name, exact, stored).model_copy(update={"underflow": underflow})

    def _convert(self, name: str, tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point() or tensor.dtype == self.dtype:
            return tensor
        half = tensor.to(self.dtype)
        if overflow := int((~torch.isfinite(half)).sum()):
            largest = float(tensor.abs().max())
            fix = "use bf16" if self.dtype is torch.float16 else "leave it in float32"
            raise PassError(
                f"{self.name}: {overflow} of {tensor.numel()} numbers overflow: {name} reaches {largest:.3g}, more "
                f"than {str(self.dtype).removeprefix('torch.')} holds ({torch.finfo(self.dtype).max:.5g}); {fix}"
            )
        return half


def _underflow(exact: Tensor, half: Tensor) -> int:
    """Number of values other than 0 that became 0."""
    return int(((half == 0) & (exact != 0)).sum())
