"""Passes ``sparse`` and ``sparse24``: zeros where they cost least, kept by every pass that follows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field
from pydantic.dataclasses import dataclass

from compress.calibration.statistics import Statistic
from compress.passes.base.skip import IGNORE, SKIP, Skipped
from compress.passes.solvers.by_factor import by_factor, leaf_names, rejoined
from compress.passes.solvers.gptq import DAMPING
from compress.passes.solvers.solver import factor_hessian, stack
from compress.passes.solvers.sparsity import (
    BLOCK,
    SparsitySolver,
    refine_fixed_mask,
    score_mask,
    sparsegpt,
)
from compress.pipeline.alias import Alias
from compress.pipeline.contract import WeightPass
from compress.weights.forms import Dense, Factored, Masked, mask_of
from compress.weights.stored import WeightReport

if TYPE_CHECKING:
    from torch import Tensor

    from compress.calibration.block import Block, BlockRole
    from compress.calibration.layer_inputs import BlockInputs
    from compress.calibration.statistics import InputStatistics, LinearInput
    from compress.checkpoint.base import ModelOutline
    from compress.passes.solvers.gptq import Hessian
    from compress.passes.solvers.sparsity import MaskRule
    from compress.pipeline.contract import TargetCapability
    from compress.weights.forms import Weight
    from compress.weights.stored import StoredForm


@dataclass(frozen=True)
class Sparsity(WeightPass):
    """Zeros in the layers' matrices; the embedding and the head are left alone."""

    accepts: ClassVar[tuple[type, ...]] = (Dense, Masked, Factored)
    produces: ClassVar[tuple[type, ...]] = (Masked,)
    aliases: ClassVar[Mapping[str, Alias]] = {"ignore": IGNORE}
    width: ClassVar[int] = BLOCK
    """Columns from which sparsegpt chooses at one time."""

    solver: SparsitySolver = Field(
        "sparsegpt",
        description="magnitude zeroes the smallest weights; wanda the smallest with regard to their inputs; sparsegpt "
        "makes each column's error good in those that follow",
    )
    refine: Literal["on", "off"] = Field(
        "on", description="then move what stays to where the outputs' error is least (conjugate gradients)"
    )
    mismatch: Literal["on", "off"] = Field(
        "on",
        description="sparsegpt and refine: aim at the original model's outputs, given what the compressed layers "
        "deliver",
    )
    skip: str = Field("", description=SKIP.replace("float", "as they are"))

    @property
    @abstractmethod
    def choose(self) -> MaskRule:
        """Mask of what stays, by scores."""

    def resolve(self, model: ModelOutline, target: TargetCapability) -> Self:
        """Refuse patterns that match no matrix."""
        Skipped(self.skip).check(self.name, model)
        return self

    def required_statistic(self) -> Statistic:
        """Statistics for these options: Gram and the original's inputs where weights move; for wanda their sizes."""
        if self.solver == "sparsegpt" or self.refine == "on":
            return Statistic.MISMATCH if self.mismatch == "on" else Statistic.GRAM
        return Statistic.SQUARE if self.solver == "wanda" else Statistic.NONE

    def chooses_by_size(self) -> bool:
        """Whether what goes is chosen by sizes alone; sparsegpt makes good for it in what stays."""
        return self.solver != "sparsegpt"

    def predict(self, name: str, role: BlockRole, stored: StoredForm) -> StoredForm:
        """Predict the same size, with zeros."""
        if role != "layer" or name in Skipped(self.skip):
            return stored
        return stored.changed(lambda leaf: leaf.model_copy(update={"masked": True}))

    def run(self, block: Block, inputs: BlockInputs) -> None:
        """Sparsify a layer's matrices in the order in which they run, each stage on what the ones before it left."""
        if block.role != "layer":
            return
        open_ = {name: weight for name, weight in block.weights.items() if name not in Skipped(self.skip)}
        for names, stats in inputs.by_stage(self.required_statistic(), open_):
            solved = by_factor(self.name, {name: open_[name] for name in names}, stats, self._solve)
            gram = stats.gram if stats is not None and stats.level >= Statistic.GRAM else None
            for name in names:
                old = open_[name]
                block.weights[name] = new = rejoined(name, old, solved)
                solver = "; ".join(dict.fromkeys(solved[leaf].solver for leaf in leaf_names(name, old)))
                block.reports[name] = WeightReport.of(solver, old.dequantize(), new.dequantize(), gram)

    def apply(self, name: str, weight: Weight, stats: InputStatistics) -> Weight:
        """Sparsify one matrix by itself, with its inputs' statistics."""
        return rejoined(name, weight, by_factor(self.name, {name: weight}, stats.get(name), self._solve))

    def _solve(self, weights: Mapping[str, Dense], inputs: LinearInput | None) -> dict[str, Sparsified]:
        """Thin out matrices that read the same inputs, stacked: every output row is a problem of its own."""
        stacked = stack(list(weights.values()))
        hessian, note = None, ""
        if self.required_statistic() >= Statistic.GRAM:
            hessian, note = factor_hessian(inputs, self.mismatch == "on", 1, "natural", DAMPING)
            note = note if hessian is not None else f"fallback: {note}"
        elif self.required_statistic() > Statistic.NONE and inputs is None:
            note = "fallback: no calibration text reaches it"
        sparse, mask, solver = self._sparsify(stacked, inputs, hessian)
        solver = f"{solver} ({note})" if note else solver
        sizes = [weight.shape[0] for weight in weights.values()]
        cuts = zip(weights, sparse.to(stacked.tensor.dtype).split(sizes), mask.split(sizes), strict=True)
        return {name: Sparsified(Masked(tensor, nonzero), solver) for name, tensor, nonzero in cuts}

    def _sparsify(
        self, weight: Dense, inputs: LinearInput | None, hessian: Hessian | None
    ) -> tuple[Tensor, Tensor, str]:
        """The matrix with its zeros, their mask, and the solver that found them."""
        exact, nonzero = weight.tensor.float(), mask_of(weight)
        target = exact if hessian is None else hessian.corrected(exact)
        solver: str = self.solver
        if solver == "sparsegpt" and hessian is not None:
            sparse, mask = sparsegpt(target, hessian, self.choose, self.width, nonzero)
        else:
            activity = inputs.square.sqrt() if self.solver != "magnitude" and inputs is not None else None
            mask = score_mask(exact, activity, self.choose, nonzero)
            sparse, solver = exact * mask, "magnitude" if activity is None else "wanda"
        if nonzero is not None:
            mask &= nonzero
        if self.refine == "on" and hessian is not None:
            sparse = refine_fixed_mask(sparse, mask, target, hessian.sorted)
        return sparse * mask, mask, solver


@plain_dataclass(frozen=True)
class Sparsified:
    """A matrix with its zeros, and how they were found."""

    weight: Masked
    solver: str
