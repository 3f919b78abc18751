"""Difficulty of a pass, from 1 to 5, by the statistics that it needs."""

from __future__ import annotations

from compress.benchmarks.results.contender import Applied
from compress.calibration.statistics import Statistic
from compress.pipeline.contract import GraphPass, Pass, WeightPass
from compress.pipeline.parse import Pipeline

_STARS = {Statistic.NONE: 1, Statistic.AMAX: 2, Statistic.SQUARE: 2, Statistic.GRAM: 3, Statistic.MISMATCH: 4}


def difficulty(pass_: Pass) -> int:
    """1: nothing but the weights; 2: ranges on a text; 3: a Gram matrix; 4: the original's inputs too; 5: gradients."""
    if not isinstance(pass_, WeightPass):
        return 1
    return 5 if pass_.uses_gradients() else _STARS[pass_.required_statistic()]


def applied(pipeline: Pipeline) -> tuple[Applied, ...]:
    """The passes of a pipeline as a scorecard records them."""
    return tuple(Applied(str(pass_), difficulty(pass_), isinstance(pass_, GraphPass)) for pass_ in pipeline.passes)
