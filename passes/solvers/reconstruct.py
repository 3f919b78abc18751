"""Reconstruction: train the matrices and vectors of a layer, or of all, towards the original's output.

By layer after AutoRound (Cheng et al., arXiv 2309.05516) and EfficientQAT (Chen et al., arXiv 2407.11062), as a whole
after knowledge distillation (Hinton et al., arXiv 1503.02531). The output is compared with the *original model's* for
the same text, and what didn't gain on text held out from the training keeps what it had.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Protocol

import torch
from torch import Tensor

from compress.calibration.block import Block
from compress.calibration.precision import fast_products
from compress.passes.solvers.parameters import Rates, Trained

_HELD_OUT = 16
"""One in so many batches tells whether training helped."""
_WARM_UP = 10
"""Steps until the rates of a whole model are reached: first steps of full size undo more than all others repair."""


class Run(Protocol):
    """A block as a function of its weights, on batches of calibration text."""

    batches: int

    def refresh(self) -> None:
        """Bring `forward` and `target` up to what the block holds now."""

    def forward(self, batch: int, parameters: Mapping[str, Tensor]) -> Tensor:
        """The block's output, differentiable in the parameters."""

    def target(self, batch: int) -> Tensor:
        """The original block's output."""

    def loss(self, output: Tensor, exact: Tensor) -> Tensor:
        """Distance of an output from the original's."""

    def training_steps(self, steps: int) -> Iterable[int]:
        """Count the training steps, shown to the user where they take long."""


class _Parameters(Mapping[str, Tensor]):
    """Matrices in training, each computed anew when it is read, and vectors."""

    def __init__(self, matrices: Mapping[str, Trained], vectors: Mapping[str, Tensor]) -> None:
        self._matrices, self._vectors = matrices, vectors

    def __getitem__(self, name: str) -> Tensor:
        return self._matrices[name].matrix() if name in self._matrices else self._vectors[name]

    def __iter__(self) -> Iterator[str]:
        return chain(self._matrices, self._vectors)

    def __len__(self) -> int:
        return len(self._matrices) + len(self._vectors)

    def __contains__(self, name: object) -> bool:
        return name in self._matrices or name in self._vectors


def reconstruct(
    block: Block, inputs: Run, trained: Mapping[str, Trained], rates: Rates, steps: int
) -> tuple[float, float]:
    """Train a block's matrices, and its vectors in place; returns the held-out loss before and after.

    Where it didn't fall, the vectors are as they were, and what was trained of the matrices is not to be used.
    """
    inputs.refresh()
    vectors = {name: v.float().clone().requires_grad_() for name, v in block.vectors.items() if v.is_floating_point()}

    parameters = _Parameters(trained, vectors)
    held_out, used = _split(range(inputs.batches))
    with fast_products():
        before = _mean_loss(inputs, held_out, parameters)
        groups = [group for matrix in trained.values() for group in matrix.groups(rates)]
        groups += [{"params": [v], "lr": rates.vectors * float(v.detach().abs().mean())} for v in vectors.values()]
        _train(inputs, used, parameters, groups, steps, rates.whole_model)
        after = _mean_loss(inputs, held_out, parameters)
    if after < before:
        for name, vector in vectors.items():
            block.vectors[name] = vector.detach().to(block.vectors[name].dtype)
    return before, after


def _split(batches: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    """Batches to judge by and batches to train on; the same one where there is no other."""
    held_out = batches[::_HELD_OUT]
    return held_out, [i for i in batches if i not in held_out] or held_out


def _train(
    inputs: Run,
    batches: Sequence[int],
    parameters: Mapping[str, Tensor],
    groups: list[dict[str, Any]],
    steps: int,
    whole_model: bool,
) -> None:
    """Adam, batch by batch in random order, at rates that fall over all steps.

    For a ``whole_model`` they rise first, and each batch's gradient counts alike, whatever its norm: a batch is little
    text there, and texts that are hard to predict would decide alone.
    """
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.95), fused=True)
    warm_up = min(_WARM_UP, steps // 2) if whole_model else 0
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: min(1.0, (i + 1) / (warm_up + 1)) * (1 - i / steps))
    moved = [parameter for group in groups for parameter in group["params"]]
    order: list[int] = []
    for _ in inputs.training_steps(steps):
        order = order or torch.randperm(len(batches)).tolist()
        optimizer.zero_grad()
        _loss(inputs, batches[order.pop()], parameters).backward()
        if whole_model:
            _normalize(moved)
        optimizer.step()
        rates.step()


def _normalize(parameters: Sequence[Tensor]) -> None:
    """Divide all gradients by the norm of them together."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    norm.clamp_min_(torch.finfo(norm.dtype).tiny)
    for gradient in gradients:
        gradient.div_(norm)


def _loss(inputs: Run, batch: int, parameters: Mapping[str, Tensor]) -> Tensor:
    """Distance of the outputs from the original's."""
    exact = inputs.target(batch)
    return inputs.loss(inputs.forward(batch, parameters), exact)


@torch.no_grad()
def _mean_loss(inputs: Run, batches: Sequence[int], parameters: Mapping[str, Tensor]) -> float:
    return sum(float(_loss(inputs, batch, parameters)) for batch in batches) / len(batches)
