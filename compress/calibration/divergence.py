"""Divergence of a model's predictions when matrices change, of many changes side by side.

Each variation of the model departs from it at the first layer that it changes and is carried on from there, so that one
walk serves them all and only one block is in memory. What they have in common is computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from compress.calibration.layer_inputs import BlockInputs, LayerInputs
from compress.calibration.precision import fast_products, to_storage_dtype
from compress.calibration.predictions import model_arguments, prediction, prediction_loss
from compress.calibration.walk import Walk
from compress.progress import Silent

if TYPE_CHECKING:
    from compress.calibration.block import Block
    from compress.calibration.flow import Flow
    from compress.checkpoint.model import Model
    from compress.progress import Progress

Key = TypeVar("Key", bound=Hashable)
Changes = Callable[["Block", BlockInputs], Mapping[Key, Mapping[str, Tensor]]]
"""A layer's variations, made of it and its linears' inputs: for each the matrices in place of its own, by name."""


@torch.no_grad()
def divergences(
    model: Model, tokens: Tensor, read: Tensor, changes: Changes[Key], progress: Progress
) -> dict[Key, float]:
    """The mean KL divergence from the model's predictions, in nats a token, of every variation that ``changes`` names.

    A variation may change several layers. ``tokens`` int64 ``[windows, length]``, or images, are what the divergence is
    measured on; the inputs that ``changes`` is handed are those of ``read``, likewise. Of encoders without a head it is
    the relative squared error of their hidden states.
    """
    walk = Walk(model, tokens, progress, originals=False, doing="surveying")
    reading = Walk(model, read, Silent(), originals=False, doing="")
    forks: dict[Key, Flow] = {}
    for (_, inputs), (block, inputs_read) in zip(walk, reading, strict=True):
        if isinstance(inputs, LayerInputs):
            changed = changes(block, inputs_read)
            forks |= {key: walk.fork() for key in changed if key not in forks}
            inputs.refresh()
            for key, fork in forks.items():
                _advance(fork, inputs, changed.get(key, {}))
    if not forks:
        return {}
    losses = dict.fromkeys(forks, 0.0)
    with walk.materialized():
        for batch, windows in enumerate(walk.flows[0].inputs):
            exact = _predict(model, walk.flows[0], batch)
            for key, fork in forks.items():
                loss = prediction_loss(model.architecture, _predict(model, fork, batch), exact)
                losses[key] += float(loss) * len(windows)
    return {key: loss / len(tokens) for key, loss in losses.items()}


def _advance(fork: Flow, inputs: LayerInputs, parameters: Mapping[str, Tensor]) -> None:
    """Take a fork's states through a layer, with ``parameters`` in place of its own."""
    arguments = fork.arguments_like(inputs.arguments)
    with fast_products():
        for batch in range(inputs.batches):
            arguments.states[batch] = to_storage_dtype(inputs.forward(batch, parameters, arguments).float())


def _predict(model: Model, flow: Flow, batch: int) -> Tensor:
    """What a model makes of the states behind its last layer."""
    arguments = model_arguments(model.architecture, flow.inputs[batch])
    with flow.behind_layers(batch) as module:
        return prediction(model.architecture, module(**arguments))
