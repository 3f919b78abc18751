"""Block-wise reconstruction: a layer's matrices and vectors, trained until its output is the original's again.

After AutoRound (Cheng et al., arXiv 2309.05516) and EfficientQAT (Chen et al., arXiv 2407.11062). The output is
compared with the *original model's* for the same text, and a layer that didn't gain on text held out from the training
keeps what it had.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from compress.block import Block
from compress.inputs import LayerInputs, token_error
from compress.passes.trainable import Rates, Trained
from compress.precision import fast_products

_HELD_OUT = 16
"""One in so many batches tells whether training helped."""


def reconstruct(
    block: Block, inputs: LayerInputs, trained: Mapping[str, Trained], rates: Rates, steps: int
) -> tuple[float, float]:
    """Train a layer's matrices, and its vectors in place; returns the held-out error before and after.

    The error is the mean relative squared one of the layer's output, by token. Where it didn't fall, the vectors are as
    they were, and what was trained of the matrices is not to be used.
    """
    inputs.refresh()
    vectors = {name: v.float().clone().requires_grad_() for name, v in block.vectors.items() if v.is_floating_point()}

    def parameters() -> dict[str, Tensor]:
        return {name: one.matrix() for name, one in trained.items()} | vectors

    held, used = _split(range(inputs.batches))
    with fast_products():
        before = _mean_loss(inputs, held, parameters())
        groups = [group for one in trained.values() for group in one.groups(rates)]
        groups += [{"params": [v], "lr": rates.scales * float(v.detach().abs().mean())} for v in vectors.values()]
        _train(inputs, used, parameters, groups, steps)
        after = _mean_loss(inputs, held, parameters())
    if after < before:
        for name, vector in vectors.items():
            block.vectors[name] = vector.detach().to(block.vectors[name].dtype)
    return before, after


def _split(batches: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    """Batches to judge by and batches to train on; the same one where there is no other."""
    held = batches[::_HELD_OUT]
    return held, [i for i in batches if i not in held] or held


def _train(
    inputs: LayerInputs,
    batches: Sequence[int],
    parameters: Callable[[], dict[str, Tensor]],
    groups: list[dict[str, Any]],
    steps: int,
) -> None:
    """Adam, batch by batch in random order, at falling rates."""
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.95))
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    order: list[int] = []
    for _ in range(steps):
        order = order or torch.randperm(len(batches)).tolist()
        optimizer.zero_grad()
        _loss(inputs, batches[order.pop()], parameters()).backward()
        optimizer.step()
        falling.step()


def _loss(inputs: LayerInputs, batch: int, parameters: Mapping[str, Tensor]) -> Tensor:
    """How far the layer's outputs are from the original's."""
    exact = inputs.target(batch)
    return token_error(inputs.forward(batch, parameters), exact)


@torch.no_grad()
def _mean_loss(inputs: LayerInputs, batches: Sequence[int], parameters: Mapping[str, Tensor]) -> float:
    return sum(float(_loss(inputs, batch, parameters)) for batch in batches) / len(batches)
