"""Ranks: which products are smaller than their matrix, and how a byte budget is shared out over many of them."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Offer:
    """A matrix ``[out, in]`` and what each direction costs that is left out, largest first."""

    shape: tuple[int, int]
    losses: Tensor


def step(shape: tuple[int, int]) -> int:
    """What ranks are a multiple of, so that groups of a left factor's inputs stay whole when it is quantized."""
    return 32 if min(shape) >= 128 else 8


def shrinks(shape: tuple[int, int], rank: int) -> bool:
    """Whether a product of that rank holds fewer numbers than the matrix; rank 0 is none."""
    return 0 < rank * sum(shape) < math.prod(shape)


def share(offers: Mapping[str, Offer], keep: float) -> dict[str, int]:
    """Ranks by matrix, 0 where it stays dense, so that ``keep`` of all numbers are stored and little is lost.

    A loss counts relative to the matrix's own outputs: what the next layer makes of these is not known. Greedy: every
    matrix gets one `step` of rank, then always the step that saves the most loss a byte and still fits. The last one,
    from the largest product that is smaller to the whole matrix, saves all that is left.
    """
    ladders = {name: _ladder(offer) for name, offer in offers.items()}
    left = keep * sum(math.prod(offer.shape) for offer in offers.values())
    left -= sum(ladder[0][1] for ladder in ladders.values())
    at = dict.fromkeys(offers, 0)
    steps: list[tuple[float, str]] = []

    def offer_step(name: str) -> None:
        if at[name] + 1 < len(ladders[name]):
            (_, size, loss), (_, larger, less) = ladders[name][at[name] : at[name] + 2]
            heapq.heappush(steps, (-(loss - less) / (larger - size), name))

    for name in offers:
        offer_step(name)
    while steps:
        _, name = heapq.heappop(steps)
        cost = ladders[name][at[name] + 1][1] - ladders[name][at[name]][1]
        if cost <= left:
            left -= cost
            at[name] += 1
            offer_step(name)
    return {name: ladders[name][at[name]][0] for name in offers}


def _ladder(offer: Offer) -> list[tuple[int, int, float]]:
    """A matrix's choices, smallest first: the rank (0: dense), the numbers that are stored, the share that is lost."""
    whole = float(offer.losses.sum()) or 1.0
    ranks = [r for r in range(step(offer.shape), min(offer.shape), step(offer.shape)) if shrinks(offer.shape, r)]
    products = [(r, r * sum(offer.shape), float(offer.losses[r:].sum()) / whole) for r in ranks]
    return [*products, (0, math.prod(offer.shape), 0.0)]
