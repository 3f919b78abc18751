"""Pass ``tune``: a short recovery after passes that did damage, layer by layer, without labels."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from compress.block import Block
from compress.contract import Statistic, WeightPass
from compress.inputs import BlockInputs, LayerInputs
from compress.manifest import WeightReport
from compress.passes.reconstruct import reconstruct
from compress.passes.trainable import Rates, form
from compress.statistics import InputStatistics
from compress.weight import Dense, Factored, Masked, Quantized, Residual, Weight

_SCALES_RATE = 1e-3
"""Step size of scales and vectors, relative to themselves."""
_FLOATS_RATE = 5e-3
"""Step size of float matrices and factors, relative to their mean magnitude. Codes move by one over the steps, at
falling rates: to a neighbour, if all steps agree (AutoRound)."""


@dataclass(frozen=True)
class Tune(WeightPass):
    """Train every layer towards the original model's outputs; masks, ranks and integer grids stay as they are."""

    name: ClassVar[str] = "tune"
    accepts: ClassVar[tuple[type, ...]] = (Dense, Masked, Quantized, Factored, Residual)
    produces: ClassVar[tuple[type, ...]] = ()

    steps: int = Field(100, ge=1, description="training steps a layer, each on two windows of the calibration text")

    def needs(self) -> Statistic:
        """The original model's hidden states beside the compressed ones'."""
        return Statistic.MISMATCH

    def trains(self) -> bool:
        """By gradients, towards the original's outputs."""
        return True

    def run(self, block: Block, inputs: BlockInputs) -> None:
        """Train a layer on what the compressed layers before it deliver; what isn't one stays as it is."""
        if not isinstance(inputs, LayerInputs):
            return
        trained = {name: form(weight) for name, weight in block.weights.items()}
        rates = Rates(codes=1 / self.steps, scales=_SCALES_RATE, floats=_FLOATS_RATE)
        before, after = reconstruct(block, inputs, trained, rates, self.steps)
        for name, one in trained.items():
            old = block.weights[name]
            if after < before:
                block.weights[name] = one.weight()
                said = f"tune (layer's error {100 * before:.3g} → {100 * after:.3g} %)"
            else:
                said = "tune (kept nothing)"
            block.reports[name] = WeightReport.of(said, old.dequantize(), block.weights[name].dequantize())

    def apply(self, name: str, weight: Weight, stats: InputStatistics) -> Weight:
        """Nothing: a matrix by itself has no output of the original's to reach."""
        return weight
