"""Mixed widths: which matrices get how many bits, so that a budget is spent where it saves the most.

Every group of matrices that read the same inputs is rounded alone, at each width, and the layer's output compared with
what it was. The budget is then shared out greedily by loss saved a byte, along each group's convex hull.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from compress.calibration.block import Block
from compress.calibration.layer_inputs import BlockInputs, LayerInputs, token_error
from compress.passes.solvers.grid import Grid
from compress.passes.solvers.rounding import round_to_nearest


@dataclass(frozen=True)
class Offer:
    """Matrices of together ``size`` weights that get the same bits, with the loss that each width costs."""

    names: tuple[str, ...]
    size: int
    losses: Mapping[int, float]


@torch.no_grad()
def survey(
    blocks: Iterable[tuple[Block, BlockInputs]],
    choices: Sequence[int],
    grid: Callable[[int, int], Grid],
    skipped: Callable[[str], bool],
) -> list[Offer]:
    """What each width costs where. ``grid`` makes a grid of bits and inputs; ``skipped`` names stay as they are.

    Matrices that read the same inputs go together, so that a runtime can still multiply with them at once.
    """
    offers = []
    for block, inputs in blocks:
        if not isinstance(inputs, LayerInputs):
            continue
        inputs.refresh()
        exact = [inputs.forward(batch, {}) for batch in range(inputs.batches)]
        for stage in inputs.stages():
            weights = {name: block.weights[name] for name in stage if not skipped(name)}
            if not weights:
                continue
            losses = {}
            for bits in choices:
                rounded = {
                    name: round_to_nearest(w.dequantize(), grid(bits, w.shape[1]), True).quantized(torch.float32)
                    for name, w in weights.items()
                }
                parameters = {name: weight.dequantize() for name, weight in rounded.items()}
                each = [token_error(inputs.forward(batch, parameters), y) for batch, y in enumerate(exact)]
                losses[bits] = float(torch.stack(each).mean())
            size = sum(weight.shape[0] * weight.shape[1] for weight in weights.values())
            offers.append(Offer(tuple(weights), size, losses))
    return offers


def allocate(offers: Sequence[Offer], budget: float) -> dict[str, int]:
    """Bits by matrix, at most ``budget`` a weight on average, so that the sum of losses is small.

    Greedy: from the narrowest width up, always the step that saves the most loss a bit and still fits. Steps lie on
    each offer's lower convex hull, where each saves less a bit than the one before it.
    """
    hulls = [_hull(offer.losses) for offer in offers]
    at = [0] * len(offers)
    left = budget * sum(offer.size for offer in offers)
    left -= sum(offer.size * hull[0] for offer, hull in zip(offers, hulls, strict=True))
    steps: list[tuple[float, int]] = []

    def offer_step(i: int) -> None:
        if at[i] + 1 < len(hulls[i]):
            low, high = hulls[i][at[i]], hulls[i][at[i] + 1]
            saved = offers[i].losses[low] - offers[i].losses[high]
            heapq.heappush(steps, (-saved / ((high - low) * offers[i].size), i))

    for i in range(len(offers)):
        offer_step(i)
    while steps:
        _, i = heapq.heappop(steps)
        cost = (hulls[i][at[i] + 1] - hulls[i][at[i]]) * offers[i].size
        if cost <= left:
            left -= cost
            at[i] += 1
            offer_step(i)
    return {name: hulls[i][at[i]] for i, offer in enumerate(offers) for name in offer.names}


def _hull(losses: Mapping[int, float]) -> list[int]:
    """The widths on the lower convex hull of a loss, narrowest first; none that costs more than a narrower one."""
    hull: list[int] = []
    for bits in sorted(losses):
        if hull and losses[bits] >= losses[hull[-1]]:
            continue
        while len(hull) > 1 and _slope(losses, hull[-2], hull[-1]) >= _slope(losses, hull[-2], bits):
            hull.pop()
        hull.append(bits)
    return hull


def _slope(losses: Mapping[int, float], low: int, high: int) -> float:
    return (losses[high] - losses[low]) / (high - low)
