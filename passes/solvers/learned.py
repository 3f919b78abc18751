"""Learned rounding: a layer's codes and scales, trained together until its output is the original's again.

After AutoRound (Cheng et al., arXiv 2309.05516) and EfficientQAT (Chen et al., arXiv 2407.11062): the proposed codes,
the scales and the layer's vectors are trained through the rounding (see `reconstruct`). It starts from
another solver's codes, and a layer that didn't gain keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from compress.passes.solvers.by_factor import leaf_names
from compress.weights.forms import Factored, mask_of

if TYPE_CHECKING:
    from compress.calibration.block import Block
    from compress.calibration.layer_inputs import BlockInputs
    from compress.passes.solvers.parameters import Trained
    from compress.passes.solvers.solver import Solved

_CODES_RATE = 1e-4
"""Step size of the proposed codes, in codes."""


def learn(block: Block, inputs: BlockInputs, solved: Mapping[str, Solved], steps: int) -> dict[str, Solved]:
    """Train a layer's matrices, and its vectors in place; returns those that it changed."""
    from compress.calibration.layer_inputs import LayerInputs
    from compress.passes.solvers.parameters import SCALES_RATE, Codes, Product, Rates
    from compress.passes.solvers.reconstruct import reconstruct

    if not isinstance(inputs, LayerInputs):
        return {}
    trained = {name: Codes(matrix.proposal, mask_of(matrix.exact)) for name, matrix in solved.items()}
    matrices: dict[str, Trained] = {}
    for name, weight in block.weights.items():
        leaves = [trained[leaf] for leaf in leaf_names(name, weight) if leaf in trained]
        if leaves:
            matrices[name] = Product(weight, *leaves) if isinstance(weight, Factored) else leaves[0]
    before, after = reconstruct(block, inputs, matrices, Rates(_CODES_RATE, SCALES_RATE), steps)
    if not after < before:
        return {}
    return {
        name: replace(matrix, proposal=trained[name].proposal(), solver=f"learned, from {matrix.solver}")
        for name, matrix in solved.items()
    }
