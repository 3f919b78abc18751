"""A model's outputs for its calibration data, from what its last layer left of each batch.

Those hidden states are a fraction of the logits that come of them, and what turns one into the other (the last norm,
the head) of the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from compress.calibration.flow import behind_layers, load_outside
from compress.calibration.layer_inputs import LayerInputs
from compress.calibration.walk import walk_blocks

if TYPE_CHECKING:
    from compress.checkpoint.model import Model
    from compress.progress import Progress


class OriginalOutputs:
    """What ``model`` makes of its calibration data ``inputs``, batch by batch; one layer is in memory at a time."""

    def __init__(self, model: Model, inputs: Tensor, progress: Progress) -> None:
        self._states: list[Tensor] = []
        outside: dict[str, Tensor] = {}
        for block, block_inputs in walk_blocks(model, inputs, progress, doing="reading the original"):
            if isinstance(block_inputs, LayerInputs):
                self._states = block_inputs.states  # the walk puts a layer's outputs in their place
            else:
                outside |= {name: weight.dequantize() for name, weight in block.weights.items()}
                outside |= {name: vector.float() for name, vector in block.vectors.items()}
        self._module, self._outputs = model.meta_module(), model.architecture.dry_run.outputs
        load_outside(self._module, outside)

    @torch.no_grad()
    def output(self, batch: int, arguments: Mapping[str, object]) -> object:
        """The model's output object for a batch, that it is called with ``arguments`` for."""
        with behind_layers(self._module, self._states[batch], self._outputs):
            return self._module(**arguments)
