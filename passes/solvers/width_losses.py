"""Losses of a model by the widths of its matrices, measured as the divergence of its predictions.

After HIGGS (Malinovskii et al., arXiv 2411.17525): errors of matrices add up in the model's loss, each in proportion to
its squared size. So the loss of one stage (matrices that read the same inputs) is measured once, with the error of
rounding at one width, and holds for every width and for solvers that leave a share of that error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from compress.passes.solvers.rounding import round_to_nearest
from compress.weights.stored import StoredForm

if TYPE_CHECKING:
    from torch import Tensor

    from compress.calibration.block import Block
    from compress.calibration.layer_inputs import BlockInputs, LayerInputs
    from compress.calibration.survey import Survey
    from compress.passes.solvers.grid import Grid
    from compress.weights.forms import Weight

Key = TypeVar("Key")

_PROBED = 4
"""Bits whose error is measured, or those next to it: fewer leave the range where losses grow with squared errors."""
_ROWS = 256
"""Outputs of a matrix that tell how its squared error changes with the bits."""


@dataclass(frozen=True)
class WidthLosses:
    """Bytes and loss of each width, for matrices that get the same bits."""

    names: tuple[str, ...]
    costs: Mapping[int, int]
    losses: Mapping[int, float]


@dataclass(frozen=True)
class Rounding:
    """Plain rounding on the ``grid`` of bits and inputs, by ``search`` for scales."""

    grid: Callable[[int, int], Grid]
    search: bool

    def error(self, weight: Tensor, bits: int) -> Tensor:
        """The error ``[out, in]`` of rounding."""
        proposal = round_to_nearest(weight, self.grid(bits, weight.shape[1]), self.search)
        return proposal.quantized().dequantize() - weight

    def squared_error(self, weight: Tensor, bits: int) -> float:
        """The squared error of rounding, of some of the outputs alone."""
        return float(self.error(weight[:: -(-len(weight) // _ROWS)], bits).square().sum())

    def nbytes(self, weight: Weight, bits: int) -> int:
        """Bytes of a matrix as stored, scales included."""
        return StoredForm.of(weight).changed(lambda leaf: self.grid(bits, leaf.shape[1]).stored_form(leaf)).nbytes


def measure_losses(
    survey: Survey, choices: Sequence[int], rounding: Rounding, skipped: Callable[[str], bool]
) -> list[WidthLosses]:
    """Measure the loss of each width for each group of matrices that get the same bits, in nats a token.

    Matrices that read the same inputs go together, so that a runtime can still multiply with them at once. One width is
    measured; at the others the loss changes as the squared error does.
    """
    probed = min(choices, key=lambda bits: abs(bits - _PROBED))
    groups: list[WidthLosses] = []  # with squared errors in place of losses at first

    def changes(block: Block, inputs: LayerInputs) -> dict[int, dict[str, Tensor]]:
        variations = {}
        for names in _alike(inputs, [name for name in block.weights if not skipped(name)]):
            weights = [block.weights[name] for name in names]
            exact = [weight.dequantize() for weight in weights]
            costs = {bits: sum(rounding.nbytes(weight, bits) for weight in weights) for bits in choices}
            errors = {bits: sum(rounding.squared_error(weight, bits) for weight in exact) for bits in choices}
            rounded = [weight + rounding.error(weight, probed) for weight in exact]
            variations[len(groups)] = dict(zip(names, rounded, strict=True))
            groups.append(WidthLosses(tuple(names), costs, errors))
        return variations

    effects = survey.divergences(changes)
    slopes = [max(effects[i], 0.0) / (group.losses[probed] or 1.0) for i, group in enumerate(groups)]
    return [
        replace(group, losses={bits: slope * error for bits, error in group.losses.items()})
        for group, slope in zip(groups, slopes, strict=True)
    ]


def _alike(inputs: BlockInputs, names: Sequence[str]) -> list[list[str]]:
    """Matrices ``names`` that get the same bits: by the tensors that they read, the experts' same ones together."""
    from compress.modeling.experts import alike_stages, without_numbers  # here: a mistake shouldn't wait for torch

    stages = [[name for stage in alike for name in stage if name in names] for alike in alike_stages(inputs.stages())]
    by_pattern = {without_numbers(name): stage for stage in stages for name in stage}
    for name in names:  # which experts no text reaches is its own affair
        if not any(name in stage for stage in stages):
            pattern = without_numbers(name)
            if pattern not in by_pattern:
                stages.append(by_pattern.setdefault(pattern, []))
            by_pattern[pattern].append(name)
    return [stage for stage in stages if stage]


def width_variations(
    candidates: Mapping[Key, Mapping[str, int]], rounding: Rounding
) -> Callable[[Block, LayerInputs], dict[Key, dict[str, Tensor]]]:
    """Variations of a model whose matrices are rounded to each of the ``candidates``' widths by name."""

    def changes(block: Block, _: LayerInputs) -> dict[Key, dict[str, Tensor]]:
        rounded: dict[tuple[str, int], Tensor] = {}
        variations = {}
        for key, widths in candidates.items():
            here = [(name, widths[name]) for name in block.weights if name in widths]
            for name, bits in here:
                if (name, bits) not in rounded:
                    exact = block.weights[name].dequantize()
                    rounded[name, bits] = exact + rounding.error(exact, bits)
            if here:
                variations[key] = {name: rounded[name, bits] for name, bits in here}
        return variations

    return changes
