"""A measured figure with its spread, rounds and windows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel


class Measure(BaseModel, frozen=True):
    """Measured figure. ``spread``: half the interquartile range of ``rounds``, or the ``windows``' standard error.

    ``windows`` holds what each evaluation window contributes (for a figure that is no mean: to first order), so that
    two runs over the same text can be compared window by window. ``bounds`` are those of 95 % where the windows'
    spread doesn't tell them: of a share of few things, of a correlation.
    """

    value: float
    spread: float | None = None
    rounds: tuple[float, ...] = ()
    windows: tuple[float, ...] = ()
    bounds: tuple[float, float] | None = None


Measures = dict[str, Measure]
"""Figures of one contender by the metric's key."""


def summarize(rounds: Sequence[float], value: float | None = None) -> Measure:
    """The median of the rounds (or a pooled ``value``) with half their interquartile range."""
    low, middle, high = np.percentile(np.asarray(rounds, dtype=np.float64), (25, 50, 75))
    return Measure(
        value=float(middle) if value is None else value, spread=float(high - low) / 2, rounds=tuple(map(float, rounds))
    )


def percentile_over_rounds(rounds: Sequence[Sequence[float]], q: int) -> Measure:
    """The q-th percentile of all rounds' values together, with half the interquartile range of the rounds' own."""
    pooled = np.concatenate([np.asarray(values) for values in rounds])
    return summarize([float(np.percentile(values, q)) for values in rounds], float(np.percentile(pooled, q)))
