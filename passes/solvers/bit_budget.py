"""Mixed bit widths: spend a budget of bits a weight where it saves the most loss.

Every group of matrices that read the same inputs is rounded alone, at each width, and the layer's output compared with
what it was. The budget is then spent so that the sum of these losses is the least there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compress.errors import UsageError
from compress.lazy import torch
from compress.passes.solvers.budget import Rung, spend_budget
from compress.passes.solvers.rounding import round_to_nearest

if TYPE_CHECKING:
    from compress.calibration.block import Block
    from compress.calibration.layer_inputs import BlockInputs
    from compress.passes.solvers.grid import Grid
    from compress.pipeline.contract import TargetCapability


@dataclass(frozen=True)
class WidthLosses:
    """Loss of each width for matrices, of together ``size`` weights, that get the same bits."""

    names: tuple[str, ...]
    size: int
    losses: Mapping[int, float]


def survey(
    blocks: Iterable[tuple[Block, BlockInputs]],
    choices: Sequence[int],
    grid: Callable[[int, int], Grid],
    skipped: Callable[[str], bool],
) -> list[WidthLosses]:
    """Measure the loss of each width for each group of matrices.

    ``grid`` makes a grid of bits and inputs; ``skipped`` names stay as they are. Matrices that read the same inputs go
    together, so that a runtime can still multiply with them at once.
    """
    from compress.calibration.layer_inputs import LayerInputs, token_error

    groups = []
    with torch.no_grad():
        for block, inputs in blocks:
            if not isinstance(inputs, LayerInputs):
                continue
            inputs.refresh()
            exact = [inputs.forward(batch, {}) for batch in range(inputs.batches)]
            for stage in inputs.stages():
                weights = {name: block.weights[name].dequantize() for name in stage if not skipped(name)}
                if not weights:
                    continue
                losses = {}
                for bits in choices:
                    rounded = {
                        name: round_to_nearest(w, grid(bits, w.shape[1]), True).quantized().dequantize()
                        for name, w in weights.items()
                    }
                    errors = [token_error(inputs.forward(batch, rounded), y) for batch, y in enumerate(exact)]
                    losses[bits] = float(torch.stack(errors).mean())
                groups.append(WidthLosses(tuple(weights), sum(w.numel() for w in weights.values()), losses))
    return groups


def choose_widths(groups: Sequence[WidthLosses], budget: float) -> dict[str, int]:
    """Choose bits by matrix, at most ``budget`` a weight on average, so that the sum of losses is the least."""
    ladders = {
        i: [Rung(bits * group.size, group.losses[bits]) for bits in sorted(group.losses)]
        for i, group in enumerate(groups)
    }
    rungs = spend_budget(ladders, budget * sum(group.size for group in groups))
    return {name: sorted(group.losses)[rungs[i]] for i, group in enumerate(groups) for name in group.names}


def check_budget(pass_name: str, mixed: float, choices: tuple[int, ...]) -> None:
    """Refuse, with a UsageError of a pass, a budget of bits a weight that no mixture of widths can meet."""
    if not choices[0] <= mixed <= choices[-1]:
        raise UsageError(f"{pass_name}: mixed={mixed:g} is out of reach of {_listed(choices)} bits")


def check_bits(pass_name: str, widths: set[int], target: TargetCapability) -> None:
    """Refuse, with a UsageError of a pass, widths that the target can't hold."""
    if unsupported := sorted(widths - target.bits):
        nearest = min(target.bits, key=lambda bits: (abs(bits - unsupported[0]), -bits))
        raise UsageError(
            f"{pass_name}: {target.name} holds integers of {_listed(sorted(target.bits))} bits, not "
            f"{unsupported[0]}; use int{nearest}, or --target hf"
        )


def _listed(numbers: Iterable[int]) -> str:
    *most, last = map(str, numbers)
    return f"{', '.join(most)} and {last}" if most else last
