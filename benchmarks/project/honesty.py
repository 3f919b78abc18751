"""Honesty of the measurement: one artifact under two names, a known difference, and simulated times.

An interval of 95 % may call two names of one artifact different once in twenty runs, has to find a difference that is
there, and holds the truth of simulated times in 95 of 100.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from compress.benchmarks.data.evaluation import Evaluation
from compress.benchmarks.measure.speed import launch_rounds
from compress.benchmarks.results.contender import Contender
from compress.benchmarks.results.kinds import PLANS
from compress.benchmarks.results.scorecard import Scorecard, Settings, ratio
from compress.benchmarks.score import score_contenders
from compress.benchmarks.statistics.interval import Interval, interval
from compress.benchmarks.statistics.measure import Measure, summarize
from compress.checkpoint.files.artifact import Artifact
from compress.modeling.kinds import DECODER

TIMES = 20
FIRST, SAME, SHORTER = "first", "same again", "a layer less"
KEY = "decode_tps"
_SPEEDUP = 1.7
_NOISES = ((0.005, 0.01, 0.005), (0.02, 0.02, 0.01), (0.03, 0.03, 0.0), (0.05, 0.05, 0.02), (0.09, 0.07, 0.01))
"""relative noise of launches and of rounds, and drift of the machine from one launch to the next"""
_SIMULATED = 4000
_LEAST = PLANS[DECODER].launches


@dataclass(frozen=True)
class SpeedRatio:
    """A ratio of speeds that was measured, with its interval; ``launches`` of each, in so many ``seconds``."""

    value: float
    bounds: Interval
    launches: int
    seconds: float

    @property
    def different(self) -> bool:
        """Whether the interval calls the two different."""
        low, high = self.bounds
        return not low <= 1 <= high

    def __str__(self) -> str:
        low, high = self.bounds
        return f"{self.value:6.3f} ({low:.3f} to {high:.3f}){' *' if self.different else '  '}"


@dataclass(frozen=True)
class Scoring:
    """One scoring of an artifact, of a copy of it, and of one with a layer less."""

    same: SpeedRatio
    shorter: SpeedRatio


def measure_scorings(
    artifact: Path,
    shorter: Path,
    evaluation: Evaluation,
    scratch: Path,
    times: int = TIMES,
    report: Callable[[str], None] = print,
) -> list[Scoring]:
    """Score an artifact beside its copy and beside a model with a layer less, so many times; ``report`` gets lines."""
    copy = Path(shutil.copytree(artifact, scratch / "again"))
    contenders = [
        Contender.of_artifact(Artifact.open(artifact), FIRST, FIRST, "original"),
        Contender.of_artifact(Artifact.open(copy), SAME, SAME),
        Contender.of_artifact(Artifact.open(shorter), SHORTER, SHORTER),
    ]
    scorings = []
    for seed in range(times):
        begin = time.monotonic()
        card = score_contenders(contenders, evaluation, Settings(seed=seed))
        seconds = time.monotonic() - begin
        scorings.append(Scoring(_comparison(card, SAME, seconds), _comparison(card, SHORTER, seconds)))
        report(_line(scorings[-1]))
    return scorings


def _comparison(card: Scorecard, name: str, seconds: float) -> SpeedRatio:
    times = ratio(card.row(name), card.original, KEY)
    assert times is not None, "every row has its speed"
    return SpeedRatio(times.value, interval(times, card.contended_share), len(times.launches), seconds)


def _line(scoring: Scoring) -> str:
    return f"{scoring.same}  {scoring.shorter}  {scoring.same.launches:3} launches  {scoring.same.seconds:5.0f} s"


def honesty_figures(scorings: Sequence[Scoring], coverages: Sequence[float]) -> dict[str, float]:
    """Figures of the goals.

    ``different``: the share of scorings that call an artifact different from itself; ``off``: the median distance of
    that ratio from 1; ``found``: the share that finds the layer less to be faster; ``least`` and ``most``: the coverage
    of simulated intervals.
    """
    return {
        "different": sum(scoring.same.different for scoring in scorings) / len(scorings),
        "off": median(abs(scoring.same.value - 1) for scoring in scorings),
        "found": sum(scoring.shorter.bounds[0] > 1 for scoring in scorings) / len(scorings),
        "least": min(coverages),
        "most": max(coverages),
    }


def simulated_coverages(simulated: int = _SIMULATED) -> list[float]:
    """Coverage of simulated intervals for each noise: launches are added until the ratio is known to 3 %."""
    return [coverage(*noise, simulated=simulated) for noise in _NOISES]


def coverage(
    launch: float,
    rounds: float,
    drift: float,
    precision: float = Settings().precision,
    most: int = 14,
    simulated: int = _SIMULATED,
) -> float:
    """Share of simulated runs whose interval of a variant's speedup holds it.

    Relative noise: ``launch`` of each process, ``rounds`` of each of its two rounds, and ``drift`` of the machine from
    one launch to the next, a random walk. Launches are added as `measure_speed` does, up to ``most``.
    """
    draw = np.random.default_rng(0)
    held = 0
    for _ in range(simulated):
        low, high = interval(_simulated(draw, launch, rounds, drift, precision, most))
        held += low <= _SPEEDUP <= high
    return held / simulated


def _simulated(
    draw: np.random.Generator, launch: float, rounds: float, drift: float, precision: float, most: int
) -> Measure:
    """The ratio of a simulated run."""
    state = 0.0
    medians: tuple[list[float], list[float]] = ([], [])
    for _ in launch_rounds(_LEAST, precision, lambda: medians, lambda number: number > most):
        for i in draw.permutation(2):
            state += draw.normal(0, drift)
            noise = state + draw.normal(0, launch) + draw.normal(0, rounds, 2)
            medians[i].append(median(np.exp(noise) * _SPEEDUP**i))
    return summarize([[other / first] for first, other in zip(*medians, strict=True)])
