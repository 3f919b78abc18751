"""A measured figure with its spread, launches and windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

import numpy as np
from pydantic import BaseModel


class Measure(BaseModel, frozen=True):
    """Measured figure. ``spread``: half the interquartile range of ``launches``, or the ``windows``' standard error.

    ``launches`` holds what each launch of a process measured, round by round; the figure is the median of their
    medians. ``windows`` holds what each evaluation window contributes (for a figure that is no mean: to first order),
    so that two runs over the same text can be compared window by window. ``bounds`` are those of 95 % where the
    windows' spread doesn't tell them: of a share of few things, of a correlation.
    """

    value: float
    spread: float | None = None
    launches: tuple[tuple[float, ...], ...] = ()
    windows: tuple[float, ...] = ()
    bounds: tuple[float, float] | None = None

    @property
    def medians(self) -> tuple[float, ...]:
        """The median of each launch's rounds."""
        return tuple(map(median, self.launches))

    def converted(self, convert: Callable[[float], float]) -> Measure:
        """Another figure of the same launches, round by round."""
        return summarize([[convert(value) for value in rounds] for rounds in self.launches])


Measures = dict[str, Measure]
"""Figures of one contender by the metric's key."""


def summarize(launches: Sequence[Sequence[float]]) -> Measure:
    """The median over launches of the median of each one's rounds.

    The spread is half the interquartile range of the launches' medians, or of the rounds of a single launch.
    """
    medians = list(map(median, launches))
    low, high = np.percentile(medians if len(medians) > 1 else launches[0], (25, 75))
    return Measure(
        value=float(median(medians)),
        spread=float(high - low) / 2,
        launches=tuple(tuple(map(float, rounds)) for rounds in launches),
    )
