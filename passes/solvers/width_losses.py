"""Losses of a model by the widths of its matrices, measured as the divergence of its predictions.

After HIGGS (Malinovskii et al., arXiv 2411.17525): errors of matrices add up in the model's loss, each in proportion to
its squared size. So the loss of one stage (matrices that read the same inputs) is measured once, with the error that
the pass's own solver leaves at one width, and at every other width it changes as the squared error of rounding does.
What rounding itself loses would mislead: a few stages of outliers are most of that, and those a solver mends best.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from compress.calibration.statistics import Statistic
from compress.passes.solvers.by_factor import by_factor, rejoined
from compress.passes.solvers.rounding import round_to_nearest
from compress.weights.stored import StoredForm

if TYPE_CHECKING:
    from torch import Tensor

    from compress.calibration.block import Block
    from compress.calibration.layer_inputs import BlockInputs
    from compress.calibration.statistics import LinearInput
    from compress.calibration.survey import Survey
    from compress.passes.solvers.grid import Grid
    from compress.passes.solvers.solver import Solved, Solver
    from compress.weights.forms import Dense, Weight

Key = TypeVar("Key")

_PROBED = 4
"""Bits whose error is measured, or those next to it: fewer leave the range where losses grow with squared errors."""
_ROWS = 256
"""Outputs of a matrix that tell how its squared error changes with the width."""


@dataclass(frozen=True)
class WidthLosses:
    """Bytes and loss of each width, for matrices that get the same bits."""

    names: tuple[str, ...]
    costs: Mapping[int, int]
    losses: Mapping[int, float]


@dataclass(frozen=True)
class Trial:
    """What the solver of the pass ``pass_name`` makes of matrices, on the ``grid`` of bits and a number of inputs.

    The solver doesn't correct for inputs that differ from the original's: on trial, all others are the original.
    """

    pass_name: str
    solver: Solver
    grid: Callable[[int, int], Grid]

    @property
    def level(self) -> Statistic:
        """Statistics that the solver needs."""
        return Statistic.NONE if self.solver.method == "rtn" else Statistic.GRAM

    def matrices(self, weights: Mapping[str, Weight], bits: int, inputs: LinearInput | None) -> dict[str, Tensor]:
        """Solve matrices that read the same ``inputs``, and return them dequantized."""

        def solve(leaves: Mapping[str, Dense], read: LinearInput | None) -> dict[str, Solved]:
            grids = {leaf: self.grid(bits, matrix.shape[1]) for leaf, matrix in leaves.items()}
            return self.solver.solve(leaves, grids, read)

        solved = by_factor(self.pass_name, weights, inputs, solve)
        return {name: rejoined(name, weight, solved).dequantize() for name, weight in weights.items()}

    def squared_error(self, weight: Tensor, bits: int) -> float:
        """The squared error of plain rounding, of some of the outputs ``[out, in]`` alone."""
        some = weight[:: -(-len(weight) // _ROWS)]
        proposal = round_to_nearest(some, self.grid(bits, some.shape[1]), self.solver.search)
        return float((proposal.quantized().dequantize() - some).square().sum())

    def nbytes(self, weight: Weight, bits: int) -> int:
        """Bytes of a matrix as stored, scales included."""
        return StoredForm.of(weight).changed(lambda leaf: self.grid(bits, leaf.shape[1]).stored_form(leaf)).nbytes


def measure_losses(
    survey: Survey, choices: Sequence[int], trial: Trial, skipped: Callable[[str], bool]
) -> list[WidthLosses]:
    """Measure the loss of each width for each group of matrices that get the same bits, in nats a token.

    Matrices that read the same inputs go together, so that a runtime can still multiply with them at once.
    """
    probed = min(choices, key=lambda bits: abs(bits - _PROBED))
    groups: list[WidthLosses] = []  # with squared errors in place of losses at first

    def changes(block: Block, inputs: BlockInputs) -> dict[int, dict[str, Tensor]]:
        weights = {name: weight for name, weight in block.weights.items() if not skipped(name)}
        solved: dict[str, Tensor] = {}
        for names, read in inputs.by_stage(trial.level, weights):
            solved |= trial.matrices({name: weights[name] for name in names}, probed, read)
        variations = {}
        for names in _alike(inputs, list(weights)):
            exact = [weights[name].dequantize() for name in names]
            costs = {bits: sum(trial.nbytes(weights[name], bits) for name in names) for bits in choices}
            errors = {bits: sum(trial.squared_error(weight, bits) for weight in exact) for bits in choices}
            variations[len(groups)] = {name: solved[name] for name in names}
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
    candidates: Mapping[Key, Mapping[str, int]], trial: Trial
) -> Callable[[Block, BlockInputs], dict[Key, dict[str, Tensor]]]:
    """Variations of a model whose matrices are solved at each of the ``candidates``' widths by name.

    All candidates name the same matrices.
    """
    named = set[str]().union(*candidates.values())

    def changes(block: Block, inputs: BlockInputs) -> dict[Key, dict[str, Tensor]]:
        variations: dict[Key, dict[str, Tensor]] = {}
        for names, read in inputs.by_stage(trial.level, [name for name in block.weights if name in named]):
            weights = {name: block.weights[name] for name in names}
            solved: dict[int, dict[str, Tensor]] = {}
            for key, widths in candidates.items():
                bits = widths[names[0]]
                if bits not in solved:
                    solved[bits] = trial.matrices(weights, bits, read)
                variations.setdefault(key, {}).update(solved[bits])
        return variations

    return changes
