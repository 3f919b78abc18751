"""Spend a budget greedily over ladders of choices, each rung dearer and better than the one below it."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

Key = TypeVar("Key", int, str)


class Rung(NamedTuple):
    """A choice: its cost, and its loss."""

    cost: int
    loss: float


def spend_budget(ladders: Mapping[Key, Sequence[Rung]], budget: float) -> dict[Key, int]:
    """Choose a rung of each ladder, so that costs sum to at most ``budget`` and losses to little.

    Greedy: every ladder gets its lowest rung, whatever that costs; then always the step up that saves the most loss for
    its cost and still fits. That is the least loss where all steps cost the same and each saves less, for its cost,
    than the one before it. Of equal steps the one with the smaller key comes first.
    """
    rungs = dict.fromkeys(ladders, 0)
    remaining = budget - sum(ladder[0].cost for ladder in ladders.values())
    steps: list[tuple[float, Key]] = []

    def push_step(key: Key) -> None:
        if rungs[key] + 1 < len(ladders[key]):
            rung, better = ladders[key][rungs[key] : rungs[key] + 2]
            heapq.heappush(steps, (-(rung.loss - better.loss) / (better.cost - rung.cost), key))

    for key in ladders:
        push_step(key)
    while steps:
        _, key = heapq.heappop(steps)
        cost = ladders[key][rungs[key] + 1].cost - ladders[key][rungs[key]].cost
        if cost <= remaining:
            remaining -= cost
            rungs[key] += 1
            push_step(key)
    return rungs
