"""Learned rounding: a layer's codes and scales, trained together until its output is the original's again.

After AutoRound (Cheng et al., arXiv 2309.05516) and EfficientQAT (Chen et al., arXiv 2407.11062): the proposed codes,
the scales and the layer's vectors are trained through the rounding (straight-through) on the layer's output, which is
compared with the *original model's* for the same text. It starts from another solver's codes, and a layer that didn't
gain on text held out from the training keeps them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce

import torch
from torch import Tensor

from compress.block import Block
from compress.inputs import BlockInputs, LayerInputs, token_error
from compress.passes.factors import leaf_names
from compress.passes.grid import Proposal
from compress.passes.solve import Solved
from compress.precision import fast_products
from compress.weight import mask_of

_CODES_RATE = 1e-4
"""Step size of the proposed codes, in codes."""
_SCALES_RATE = 1e-3
"""Step size of scales and vectors, relative to themselves."""
_HELD_OUT = 16
"""One in so many batches tells whether training helped."""


class _Round(torch.autograd.Function):
    """Rounding that lets gradients through (straight-through estimator, Bengio et al., arXiv 1308.3432)."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient


class _Trained:
    """One matrix in training."""

    def __init__(self, proposal: Proposal, mask: Tensor | None) -> None:
        self.start = proposal
        self.mask = mask
        self.values = proposal.values.clone().requires_grad_()
        self.gain = torch.ones_like(proposal.scale).requires_grad_()

    def matrix(self) -> Tensor:
        """The dequantized matrix ``[out, in]``, differentiable."""
        grid = self.start.grid
        rounded: Tensor = _Round.apply(self.values)  # type: ignore[no-untyped-call]
        codes: Tensor = rounded.clamp(grid.low, grid.high).unflatten(1, (-1, grid.group))
        if self.start.zero is not None:
            codes = codes - self.start.zero.unsqueeze(-1)
        matrix: Tensor = (codes * (self.start.scale * self.gain).unsqueeze(-1)).flatten(1)
        return matrix if self.mask is None else matrix * self.mask  # so that no gradient moves a frozen zero

    def proposal(self) -> Proposal:
        """What training made of it."""
        return replace(self.start, values=self.values.detach(), scale=self.start.scale * self.gain.detach())


def learn(block: Block, inputs: BlockInputs, solved: Mapping[str, Solved], steps: int) -> dict[str, Solved]:
    """Train a layer's matrices, and its vectors in place; returns those that it changed."""
    if not isinstance(inputs, LayerInputs):
        return {}
    inputs.refresh()
    trained = {name: _Trained(one.proposal, mask_of(one.exact)) for name, one in solved.items()}
    whole = {name: leaf_names(name, weight) for name, weight in block.weights.items()}
    vectors = {name: v.float().clone().requires_grad_() for name, v in block.vectors.items() if v.is_floating_point()}

    def parameters() -> dict[str, Tensor]:
        found = {name: [trained[leaf].matrix() for leaf in leaves if leaf in trained] for name, leaves in whole.items()}
        return {name: reduce(torch.matmul, factors) for name, factors in found.items() if factors} | vectors

    held, used = _split(range(inputs.batches))
    with fast_products():
        before = _mean_loss(inputs, held, parameters())
        _train(inputs, used, parameters, trained, vectors, steps)
        after = _mean_loss(inputs, held, parameters())
    if not after < before:
        return {}
    for name, vector in vectors.items():
        block.vectors[name] = vector.detach().to(block.vectors[name].dtype)
    return {
        name: replace(one, proposal=trained[name].proposal(), solver=f"learned, from {one.solver}")
        for name, one in solved.items()
    }


def _split(batches: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    """Batches to judge by and batches to train on; the same one where there is no other."""
    held = batches[::_HELD_OUT]
    return held, [i for i in batches if i not in held] or held


def _train(
    inputs: LayerInputs,
    batches: Sequence[int],
    parameters: Callable[[], dict[str, Tensor]],
    trained: Mapping[str, _Trained],
    vectors: Mapping[str, Tensor],
    steps: int,
) -> None:
    """Adam, batch by batch in random order, at falling rates."""
    gains = [one.gain for one in trained.values()]
    groups = [
        {"params": [one.values for one in trained.values()], "lr": _CODES_RATE},
        {"params": gains, "lr": _SCALES_RATE},
        *({"params": [v], "lr": _SCALES_RATE * float(v.detach().abs().mean())} for v in vectors.values()),
    ]
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
