"""Pass ``tune``: a short recovery after passes that did damage, by layer or as a whole, without labels."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field
from pydantic.dataclasses import dataclass

from compress.calibration.statistics import Statistic
from compress.errors import UsageError
from compress.pipeline.contract import WeightPass
from compress.system.memory import free_memory
from compress.weights.forms import Dense, Factored, Masked, Quantized, Residual, leaves
from compress.weights.stored import WeightReport

if TYPE_CHECKING:
    from compress.calibration.block import Block
    from compress.calibration.layer_inputs import BlockInputs
    from compress.calibration.statistics import InputStatistics
    from compress.checkpoint.base import ModelOutline
    from compress.pipeline.contract import TargetCapability
    from compress.weights.forms import Weight

_FLOATS_RATE = {"layer": 5e-3, "model": 0.02}
"""Step size of float matrices and factors by scope, relative to their mean magnitude; of a whole model divided by the
root of their inputs. Codes move by one over the steps, at falling rates: to a neighbor, if all steps agree
(AutoRound)."""
_SCALES_RATE = 3e-3
"""Step size of a whole model's scales and vectors, relative to themselves, where nothing else is trained, beside
integers of 2 bits; half of it for each bit more, and vectors go by the fewest."""
_STEPS = {("layer", "all"): 100, ("layer", "scales"): 100, ("model", "all"): 450, ("model", "scales"): 64}
"""Steps by scope and by what is trained; those of a whole model's scales are one pass over 128 windows."""

_BYTES = {"all": 20, "scales": 4}
"""Memory for a parameter by what is trained: as it came; in training, with its gradient, and two moments of that."""


@dataclass(frozen=True)
class Tune(WeightPass):
    """Train towards the original model's outputs, layer by layer or as a whole; masks, ranks and grids stay."""

    name: ClassVar[str] = "tune"
    accepts: ClassVar[tuple[type, ...]] = (Dense, Masked, Quantized, Factored, Residual)
    produces: ClassVar[tuple[type, ...]] = ()

    steps: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto",
        description="training steps, each on two windows of the calibration text; auto: 100, with scope=model 450, of "
        "scales 64",
    )
    scope: Literal["layer", "model"] = Field(
        "layer",
        description="layer: one after another, so many steps each, towards the original's hidden states; model: all at "
        "once, towards its predictions, with some 20 bytes a parameter in memory, and as the last pass",
    )
    train: Literal["all", "scales"] = Field(
        "all",
        description="all: integers, each by one at most, and all floats; scales: scales, norms and biases, while "
        "integers and float matrices stay, with scope=model in some 4 bytes a parameter",
    )

    def resolve(self, model: ModelOutline, target: TargetCapability) -> Self:
        """Decide ``steps`` by the scope, and refuse a model that is too large to be trained as a whole here."""
        needed, free = _BYTES[self.train] * sum(math.prod(model.shape(name)) for name in model.matrices), free_memory()
        if self.scope == "model" and needed > free:
            raise UsageError(
                f"tune: scope=model takes some {needed / 1e9:.3g} GB of memory, and {free / 1e9:.3g} are free; use "
                "scope=layer"
            )
        return replace(self, steps=self._count)

    def required_statistic(self) -> Statistic:
        """Statistics: the original model's hidden states beside the compressed ones'; of the whole model text alone."""
        return Statistic.MISMATCH if self.scope == "layer" else Statistic.GRAM

    def on_whole_model(self) -> bool:
        """Whether the model is trained as a whole."""
        return self.scope == "model"

    def uses_gradients(self) -> bool:
        """Whether gradients are used: always."""
        return True

    def run(self, block: Block, inputs: BlockInputs) -> None:
        """Train a layer on what the compressed layers before it deliver; what isn't one stays as it is."""
        from compress.calibration.layer_inputs import LayerInputs
        from compress.calibration.whole_model import WholeInputs
        from compress.passes.solvers.parameters import SCALES_RATE, Rates, numbers, trainable
        from compress.passes.solvers.reconstruct import reconstruct
        from compress.passes.solvers.scales import relative_rate, scales

        if not isinstance(inputs, LayerInputs | WholeInputs):
            return
        whole, only_scales = self.scope == "model", self.train == "scales"
        leaf = scales if only_scales else numbers
        trained = {name: trainable(weight, leaf) for name, weight in block.weights.items()}
        scales_rate = vectors_rate = SCALES_RATE
        if whole and only_scales:
            scales_rate, vectors_rate = _SCALES_RATE, _SCALES_RATE * relative_rate(_fewest_bits(block.weights.values()))
        rates = Rates(1 / self._count, scales_rate, _FLOATS_RATE[self.scope], whole, vectors_rate)
        before, after = reconstruct(block, inputs, trained, rates, self._count)
        for name, form_in_training in trained.items():
            if not form_in_training.groups(rates):
                continue
            old = block.weights[name]
            if after < before:
                block.weights[name] = form_in_training.weight()
                solver = f"tune ({self._measure(before)} → {self._measure(after)})"
            else:
                solver = "tune (kept nothing)"
            block.reports[name] = WeightReport.of(solver, old.dequantize(), block.weights[name].dequantize())

    @property
    def _count(self) -> int:
        return _STEPS[self.scope, self.train] if self.steps == "auto" else self.steps

    def _measure(self, loss: float) -> str:
        return f"loss {loss:.3g}" if self.scope == "model" else f"layer's error {100 * loss:.3g} %"

    def apply(self, name: str, weight: Weight, stats: InputStatistics) -> Weight:
        """Leave the matrix as it is: alone it has no output of the original's to reach (`run`)."""
        return weight


def _fewest_bits(weights: Iterable[Weight]) -> int:
    """The fewest bits of integers among matrices and their parts; as if there were 2 where there are none."""
    return min((leaf.bits for weight in weights for leaf in leaves(weight) if isinstance(leaf, Quantized)), default=2)
