"""Pass ``lowrank``: a linear's matrix as a product of two thin ones, wherever that is smaller."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field
from pydantic.dataclasses import dataclass

from compress.calibration.statistics import Statistic
from compress.errors import PassError, UsageError
from compress.passes.base.skip import IGNORE, SKIP, Skipped
from compress.passes.solvers.gptq import DAMPING
from compress.passes.solvers.rank_budget import ProductSize, RankLosses, choose_ranks, rank_step
from compress.passes.solvers.whitened_svd import OutputMetric
from compress.pipeline.alias import Alias
from compress.pipeline.contract import WeightPass
from compress.weights.forms import Dense, Factored
from compress.weights.stored import LEFT_DENSE, OF_RANK, StoredForm, WeightReport

if TYPE_CHECKING:
    from torch import Tensor

    from compress.calibration.block import Block, BlockRole
    from compress.calibration.layer_inputs import BlockInputs
    from compress.calibration.statistics import InputStatistics
    from compress.calibration.survey import Survey
    from compress.checkpoint.base import ModelOutline
    from compress.passes.solvers.whitened_svd import Spectrum
    from compress.pipeline.contract import TargetCapability
    from compress.weights.forms import Weight


@dataclass(frozen=True)
class Lowrank(WeightPass):
    """Matrices as products of two thin ones, where that is smaller; give one of rank, keep and energy."""

    name: ClassVar[str] = "lowrank"
    accepts: ClassVar[tuple[type, ...]] = (Dense,)
    produces: ClassVar[tuple[type, ...]] = (Factored,)
    aliases: ClassVar[Mapping[str, Alias]] = {"ignore": IGNORE}

    rank: float | None = Field(
        None, gt=0, lt=1, description="rank of the products, as a share of the smaller side of the matrix"
    )
    keep: float | None = Field(
        None, gt=0, lt=1, description="bytes of the layers' matrices that stay, as a share; shared out by loss a byte"
    )
    energy: float | None = Field(
        None, gt=0, lt=1, description="share of the outputs' energy (Σσ²) that each product keeps"
    )
    whiten: Literal["on", "off"] = Field(
        "on", description="on: lose least of the outputs on calibration text; off: of the matrix, a plain SVD"
    )
    mismatch: Literal["on", "off"] = Field(
        "off", description="aim at the original model's outputs, given what the compressed layers deliver"
    )
    head: Literal["lowrank", "float"] = Field(
        "lowrank", description="an untied output head, where rank or energy is given; a tied one is left alone"
    )
    pivot: Literal["on", "off"] = Field(
        "on",
        description="on: r of the outputs are the right factor's own, which spares r² numbers; off: both factors in "
        "full, r (out + in) numbers and two operators less",
    )
    skip: str = Field("", description=SKIP)
    ranks: Mapping[str, int] = Field(default_factory=dict, exclude=True)
    """Each matrix's rank, once they are planned; 0: it stays dense."""

    def __post_init__(self) -> None:
        if sum(option is not None for option in (self.rank, self.keep, self.energy)) != 1:
            raise ValueError("give exactly one of rank, keep and energy, like rank=0.625")

    def resolve(self, model: ModelOutline, target: TargetCapability) -> Self:
        """Refuse patterns that match no matrix, and options that contradict each other."""
        Skipped(self.skip).check(self.name, model)
        if self.whiten == "off" and self.mismatch == "on":
            raise UsageError("lowrank: mismatch=on needs whiten=on, which knows the inputs")
        return self

    def required_statistic(self) -> Statistic:
        """Statistics for these options: the Gram and the original model's inputs; none for a plain SVD."""
        if self.whiten == "off":
            return Statistic.NONE
        return Statistic.MISMATCH if self.mismatch == "on" else Statistic.GRAM

    def plan(self, survey: Survey) -> Self:
        """Spend the byte budget of ``keep`` over the layers' matrices."""
        if self.keep is None:
            return self
        losses = {}
        for block, inputs in survey():
            if block.role == "layer":
                open_ = [name for name in block.weights if name not in Skipped(self.skip)]
                level = min(self.required_statistic(), Statistic.GRAM)
                for names, stats in inputs.by_stage(level, open_):
                    metric = OutputMetric(stats, self.whiten == "on")
                    for name in names:
                        weight = block.weights[name]
                        size = self._size(StoredForm.of(weight))
                        losses[name] = RankLosses(size, metric.losses(weight.dequantize()))
        return replace(self, ranks=choose_ranks(losses, self.keep))

    def predict(self, name: str, role: BlockRole, stored: StoredForm) -> StoredForm:
        """Predict a product of the rank that the shape alone gives; a UsageError where it hangs on the weights."""
        if self.rank is None:
            raise UsageError("lowrank: ranks by keep and energy hang on the weights; give rank to predict sizes")
        if role not in self._roles or name in Skipped(self.skip):
            return stored
        rank, size = self._fixed(name, stored.shape), self._size(stored)
        return stored if rank is None or not size.shrinks(rank) else size.form(rank)

    def run(self, block: Block, inputs: BlockInputs) -> None:
        """Factor a layer's matrices in the order in which they run, each stage on what the ones before it left."""
        if block.role not in self._roles:
            return
        level = self.required_statistic() if block.role == "layer" else Statistic.NONE
        open_ = [name for name in block.weights if name not in Skipped(self.skip)]
        for names, stats in inputs.by_stage(level, open_):
            metric = OutputMetric(stats, self.whiten == "on")
            for name in names:
                old = block.weights[name]
                block.weights[name] = new = self._factor(name, old, metric)
                gram = stats.gram if metric.root is not None and stats is not None else None
                block.reports[name] = _report(old, new, gram)

    def apply(self, name: str, weight: Weight, stats: InputStatistics) -> Weight:
        """Factor one matrix by itself, with its inputs' statistics."""
        return self._factor(name, weight, OutputMetric(stats.get(name), self.whiten == "on"))

    @property
    def _roles(self) -> tuple[BlockRole, ...]:
        """Blocks whose matrices are factored; a head's loss can't be held against a layer's, so it takes no share."""
        return ("layer", "head") if self.head == "lowrank" and self.keep is None else ("layer",)

    def _factor(self, name: str, weight: Weight, metric: OutputMetric) -> Weight:
        """The product of the matrix's rank, or the matrix where that would be no smaller."""
        if not isinstance(weight, Dense):
            raise PassError(f"lowrank works on dense weights; {name} is {type(weight).__name__}")
        fixed, size = self._fixed(name, weight.shape), self._size(StoredForm.of(weight))
        if fixed is not None and not size.shrinks(fixed):
            return weight
        spectrum = metric.spectrum(metric.target(weight.tensor, DAMPING))
        rank = fixed if fixed is not None else self._enough(weight.shape, spectrum)
        return spectrum.product(rank, weight.tensor.dtype, size.pivoted) if size.shrinks(rank) else weight

    def _size(self, form: StoredForm) -> ProductSize:
        return ProductSize(form.shape, form.itemsize, self.pivot == "on")

    def _fixed(self, name: str, shape: tuple[int, int]) -> int | None:
        """The rank of a matrix where it doesn't hang on its numbers, or was planned."""
        if self.rank is not None:
            return max(int(self.rank * min(shape) / rank_step(shape)), 1) * rank_step(shape)
        return self.ranks.get(name, 0) if self.keep is not None else None

    def _enough(self, shape: tuple[int, int], spectrum: Spectrum) -> int:
        """The smallest rank that keeps the wanted share of the energy."""
        assert self.energy is not None
        energies = spectrum.losses.cumsum(0)
        rank = int((energies < self.energy * energies[-1]).sum()) + 1
        return math.ceil(rank / rank_step(shape)) * rank_step(shape)


def _report(old: Weight, new: Weight, gram: Tensor | None) -> WeightReport:
    if new is old:
        return WeightReport(
            solver=f"{LEFT_DENSE}: no product that keeps enough of it is smaller", error=None, weight_error=0.0
        )
    assert isinstance(new, Factored)
    solver = f"{'svd' if gram is None else 'whitened svd'}{OF_RANK}{new.right.shape[0]}"
    return WeightReport.of(solver, old.dequantize(), new.dequantize(), gram)
