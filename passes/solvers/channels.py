"""Prunable channels: their producers, their only consumer, and how to drop them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from compress.lazy import torch
from compress.passes.solvers.nystrom import eliminate, energy, ridge
from compress.weights.forms import Dense
from compress.weights.stored import WeightReport

if TYPE_CHECKING:
    from torch import Tensor

    from compress.calibration.block import Block
    from compress.calibration.statistics import LinearInput
    from compress.weights.forms import Weight

PruneSolver = Literal["nystrom", "dropped"]


@dataclass(frozen=True)
class Channels:
    """Matrices ``makers`` compute them, row by row, and the matrix ``reader`` reads them, column by column.

    ``makers`` may have fewer rows than the reader has columns: a key-value head serves several query heads. They have
    ``times`` as many where they hold several matrices on top of each other, one row of each for a channel.
    """

    makers: tuple[str, ...]
    reader: str
    times: int = 1

    def within(self, layer: str) -> Channels:
        """The same channels by the checkpoint's names in a layer."""
        return Channels(
            tuple(f"{layer}.{name}.weight" for name in self.makers), f"{layer}.{self.reader}.weight", self.times
        )


MLP = (
    Channels(("mlp.gate_proj", "mlp.up_proj"), "mlp.down_proj"),
    Channels(("intermediate.dense",), "output.dense"),
    Channels(("ffn.lin1",), "ffn.lin2"),
    Channels(("mlp.gate_up_proj",), "mlp.down_proj", times=2),
    Channels(("mlp.c_fc",), "mlp.c_proj"),
    Channels(("mlp.fc_in",), "mlp.fc_out"),
    Channels(("mlp.dense_h_to_4h",), "mlp.dense_4h_to_h"),
    Channels(("ffn.up_proj",), "ffn.down_proj"),
    Channels(("fc1",), "fc2"),
    Channels(("mlp.fc1",), "mlp.fc2"),
    *(Channels((f"layer.{i}.DenseReluDense.wi",), f"layer.{i}.DenseReluDense.wo") for i in (1, 2)),
    *(
        Channels((f"layer.{i}.DenseReluDense.wi_0", f"layer.{i}.DenseReluDense.wi_1"), f"layer.{i}.DenseReluDense.wo")
        for i in (1, 2)
    ),
)
HEADS = (Channels(("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), "self_attn.o_proj"),)


def find_channels(layouts: Iterable[Channels], layer: str, names: Iterable[str]) -> Channels | None:
    """Find the channels of a layer by the checkpoint's ``names``; None where it is built otherwise."""
    available = set(names)
    inside = (channels.within(layer) for channels in layouts)
    return next((channels for channels in inside if {*channels.makers, channels.reader} <= available), None)


def drop_channels(
    block: Block, channels: Channels, inputs: LinearInput, units: int, count: int, solver: PruneSolver
) -> None:
    """Drop ``count`` of the ``units`` equal runs of channels of a layer, whose reader's inputs those are.

    ``nystrom`` drops those that the others best stand in for, and lets them; ``dropped`` those that add least.
    """
    name = channels.reader
    weight = block.weights[name]
    exact, shift, solver_text = weight.dequantize(), ridge(inputs.gram, inputs.tokens), str(solver)
    if solver == "nystrom" and shift == 0:
        solver, solver_text = "dropped", "dropped (fallback: its inputs are zero on all of the calibration text)"
    if solver == "nystrom":
        kept_units, fitted = eliminate(exact, inputs.gram, shift, units, count)
    else:
        kept_units = torch.ones(units, dtype=torch.bool)
        kept_units[energy(exact, inputs.gram, units).argsort()[:count]] = False
        fitted = exact[:, _channel_mask(kept_units, exact.shape[1])]
    block.weights[name] = stored = _like(weight, fitted)
    padded = torch.zeros_like(exact)
    padded[:, _channel_mask(kept_units, exact.shape[1])] = stored.dequantize()
    block.reports[name] = WeightReport.of(solver_text, exact, padded, inputs.gram)
    for maker in channels.makers:
        rows = _drop_rows(block, maker, kept_units.repeat(channels.times))
        columns = _channel_mask(kept_units, exact.shape[1])
        block.folds = [fold.restricted(rows, columns) if fold.source == maker else fold for fold in block.folds]


def _drop_rows(block: Block, name: str, kept_units: Tensor) -> Tensor:
    """Drop a matrix's outputs, and those of its bias; the others, which are marked in what it returns, stay."""
    weight = block.weights[name]
    exact = weight.dequantize()
    rows = _channel_mask(kept_units, exact.shape[0])
    block.weights[name] = _like(weight, exact[rows])
    block.reports[name] = WeightReport.of("dropped", exact, exact * rows[:, None])
    bias = f"{name.removesuffix('weight')}bias"
    if bias in block.vectors:
        block.vectors[bias] = block.vectors[bias][rows]
    return rows


def _channel_mask(kept_units: Tensor, channels: int) -> Tensor:
    """Mask of channels that belong to a unit that is kept."""
    return kept_units.repeat_interleave(channels // len(kept_units))


def _like(weight: Weight, tensor: Tensor) -> Dense:
    """A matrix in the dtype that another one is stored in."""
    return Dense(tensor.to(weight.tensor.dtype if isinstance(weight, Dense) else tensor.dtype).contiguous())
