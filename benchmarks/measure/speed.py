"""Measure speed and memory of serving: every contender in fresh processes, one at a time, in shuffled order."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from compress.benchmarks.measure.contention import Contention
from compress.benchmarks.measure.launch import Launch, Start, Workload, launch
from compress.benchmarks.measure.stopwatch import Stopwatch
from compress.benchmarks.measure.turns import Figures
from compress.benchmarks.results.contender import Contender
from compress.benchmarks.results.kinds import PLANS
from compress.benchmarks.results.scorecard import Cell, Settings
from compress.benchmarks.statistics.interval import half_width, launch_interval
from compress.benchmarks.statistics.measure import Measures, summarize
from compress.progress import Progress
from compress.system.page_cache import drop_cached

COLD = "load_cold_s"
"""seconds of the first load, whose files are read from the disk"""


@dataclass(frozen=True)
class SpeedResults:
    """Measures and cells of every contender, in their order, and the cores that other programs kept busy."""

    measures: list[Measures]
    cells: list[tuple[Cell, ...]]
    cores_used_by_others: float


def measure_speed(
    contenders: Sequence[Contender], start: Start, load: Workload, progress: Progress, clock: Stopwatch
) -> SpeedResults:
    """Measure speed, peak memory and load time of every contender, in their order; the first is the original.

    A process may be faster or slower than the next one of the same program as long as it lives, by where its memory
    lies: a figure is the median over launches, and contenders are compared with what was launched next to them.
    """
    settings = load.settings
    needed = max(settings.prompt, settings.prefill, settings.batch * settings.prompt)
    load = replace(load, tokens=np.resize(load.tokens, needed))
    order, contention = random.Random(settings.seed), Contention()
    launches: list[list[Launch]] = [[] for _ in contenders]
    schedule = _schedule(launches, settings, PLANS[contenders[0].kind].speed, order)
    for i in progress.track(schedule, "measuring speed", None, "launches"):
        cold = not launches[i] and settings.launches > 1
        if cold:
            drop_cached(contenders[i].path)
        measured = launch(contenders[i], start, load, order, clock)
        launches[i].append(_cold(measured) if cold else measured)
    return SpeedResults(
        [_measures([measured.figures for measured in own]) for own in launches],
        [_cells(own) for own in launches],
        contention.cores_used_by_others(),
    )


def _schedule(launches: list[list[Launch]], settings: Settings, key: str, order: random.Random) -> Iterator[int]:
    """The number of the contender to launch next, until enough is known or time is up.

    Every round of launches has each contender once. An order that was drawn is rotated from round to round, so that
    each contender takes every place; then the next is drawn.
    """
    contenders, begin = len(launches), time.monotonic()
    most = (settings.patience or 0.0) * contenders
    places: list[int] = []

    def medians() -> list[list[float]]:
        return [[median(own.figures[key]) for own in mine] for mine in launches]

    def is_late(number: int) -> bool:
        return (time.monotonic() - begin) * number / (number - 1) > most

    for number in launch_rounds(settings.launches, settings.precision, medians, is_late):
        places = [*places[1:], places[0]] if (number - 1) % contenders else order.sample(range(contenders), contenders)
        yield from places


def launch_rounds(
    least: int,
    precision: float,
    medians: Callable[[], Sequence[Sequence[float]]],
    is_late: Callable[[int], bool],
) -> Iterator[int]:
    """Number rounds of launches from 1 on: ``least``, and more until the ratios are known or the next one ``is_late``.

    ``medians`` are those of each contender's launches so far. Once the ratios are known, one more round follows: it
    knows nothing of what ended the others, which chance may have made agree.
    """
    known = False
    for number in itertools.count(1):
        yield number
        if number >= least and (known or is_late(number + 1)):
            return
        known = number >= least - 1 and ratios_known(medians(), precision)


def ratios_known(medians: Sequence[Sequence[float]], precision: float) -> bool:
    """Whether the interval of every contender's ratio to the first is within ``precision`` of it on either side."""
    for mine in medians[1:]:
        if half_width(launch_interval([a / b for a, b in zip(mine, medians[0], strict=True)])) > precision:
            return False
    return True


def _cold(measured: Launch) -> Launch:
    """A launch whose load time is that of a first load."""
    figures = dict(measured.figures)
    figures[COLD] = figures.pop("load_s")
    return replace(measured, figures=figures)


def _measures(launches: Sequence[Figures]) -> Measures:
    keys = dict.fromkeys(key for figures in launches for key in figures)
    return {key: summarize([figures[key] for figures in launches if key in figures]) for key in keys}


def _cells(launches: Sequence[Launch]) -> tuple[Cell, ...]:
    return tuple(
        Cell(length=length, batch=batch, measures=_measures([own.cells[length, batch] for own in launches]))
        for length, batch in launches[0].cells
    )
