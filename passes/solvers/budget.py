"""Spend a budget over ladders of choices by dynamic programming, so that the sum of losses is the least there is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    import numpy as np

Key = TypeVar("Key", int, str)

_STATES = 1 << 16
"""Sums of costs that are told apart."""


class Rung(NamedTuple):
    """A choice: its cost, and its loss."""

    cost: int
    loss: float


def spend_budget(ladders: Mapping[Key, Sequence[Rung]], budget: float) -> dict[Key, int]:
    """Choose a rung of each ladder, so that costs sum to at most ``budget`` and losses to the least.

    Of equal losses the cheapest is taken; where not even the cheapest rungs fit, they are what is taken. Exact where
    the costs have a common unit of which the budget holds no more than 65536; beyond that they count as rounded up to
    so many units, and the budget isn't spent to the last of them.
    """
    import numpy as np  # here: `--help` shouldn't wait for it

    cheapest = {key: min(rung.cost for rung in ladder) for key, ladder in ladders.items()}
    extras = {key: [rung.cost - cheapest[key] for rung in ladder] for key, ladder in ladders.items()}
    spare = min(max(int(budget - sum(cheapest.values())), 0), sum(map(max, extras.values())))
    unit = max(math.gcd(*(extra for ladder in extras.values() for extra in ladder)), -(-spare // _STATES), 1)
    least = np.full(spare // unit + 1, np.inf)  # by what is spent beyond the cheapest, in units
    least[0] = 0.0
    picks = {}
    for key, ladder in ladders.items():
        least, picks[key] = _with_ladder(least, [-(-extra // unit) for extra in extras[key]], ladder)
    spent = int(least.argmin())
    rungs: dict[Key, int] = {}
    for key in reversed(list(ladders)):
        rungs[key] = int(picks[key][spent])
        spent -= -(-extras[key][rungs[key]] // unit)
    return {key: rungs[key] for key in ladders}


def _with_ladder(least: np.ndarray, costs: Sequence[int], ladder: Sequence[Rung]) -> tuple[np.ndarray, np.ndarray]:
    """The least loss by what is spent with one ladder more, whose rungs have these ``costs``; and the rungs for it."""
    import numpy as np

    total, picks = np.full_like(least, np.inf), np.zeros(len(least), np.int32)
    for i, (cost, rung) in enumerate(zip(costs, ladder, strict=True)):
        if cost >= len(least):
            continue
        losses = least[: len(least) - cost] + rung.loss
        better = losses <= total[cost:]
        total[cost:][better] = losses[better]
        picks[cost:][better] = i
    return total, picks
