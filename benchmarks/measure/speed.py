"""Measure speed and memory of serving: a process a contender, interleaved rounds in random order."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compress.benchmarks.measure.contention import Contention
from compress.benchmarks.measure.speed_grid import measure_grid
from compress.benchmarks.measure.stopwatch import Stopwatch
from compress.benchmarks.measure.turns import DecoderTurns, EncoderTurns, Turns
from compress.benchmarks.results.scorecard import Cell, Settings
from compress.benchmarks.runtime.engine import Ids
from compress.benchmarks.statistics.interval import median_interval
from compress.benchmarks.statistics.measure import Measure, Measures
from compress.benchmarks.worker.client import Worker
from compress.benchmarks.worker.image_file import ImageFile
from compress.benchmarks.worker.protocol import Memory
from compress.progress import Progress


@dataclass(frozen=True)
class SpeedResults:
    """Measures and cells of every contender, in their order, and the cores that other programs kept busy."""

    measures: list[Measures]
    cells: list[tuple[Cell, ...]]
    cores_used_by_others: float


def measure_speed(
    workers: Sequence[Worker],
    tokens: Ids,
    settings: Settings,
    progress: Progress,
    clock: Stopwatch,
    images: ImageFile | None = None,
) -> SpeedResults:
    """Measure speed, peak memory and load time of every contender, in their order.

    ``tokens`` ``[n]`` feed the prompts, or are numbers of ``images``. All contenders are loaded, have done nothing yet,
    and are warmed up first. Peak memory is that of serving: nothing else runs in these processes before it is read.
    """
    needed = max(settings.prompt, settings.prefill)
    tokens = np.resize(tokens, max(needed, settings.batch * settings.prompt))
    order = random.Random(settings.seed)
    contenders = [_turns(worker, tokens, settings, images) for worker in workers]
    for turns in contenders:
        turns.warm_up()
    clock.lap("warm-up")
    contention = Contention([worker.pid for worker in workers])
    _take_turns(contenders, settings, order, progress, clock)
    _take_extra_turns(contenders, settings, order, progress, clock)
    measures = [turns.measures() | _measure_once(worker) for worker, turns in zip(workers, contenders, strict=True)]
    grid = measure_grid(workers, tokens, settings, order, progress, clock)
    return SpeedResults(
        [own | modes for own, (modes, _) in zip(measures, grid, strict=True)],
        [cells for _, cells in grid],
        contention.cores_used_by_others(),
    )


def _turns(worker: Worker, tokens: Ids, settings: Settings, images: ImageFile | None) -> Turns:
    if worker.contender.kind.generates_text:
        return DecoderTurns(worker, tokens, settings)
    return EncoderTurns(worker, tokens, settings, images)


def _take_turns(
    contenders: Sequence[Turns], settings: Settings, order: random.Random, progress: Progress, clock: Stopwatch
) -> None:
    """Run all rounds: in a turn one contender runs and the others idle.

    The pause before it lets the threads of the last one stop spinning.
    """
    rounds = [turns for _ in range(settings.rounds) for turns in order.sample(contenders, len(contenders))]
    for turns in progress.track(rounds, "measuring speed", len(rounds), "turns"):
        time.sleep(settings.pause)
        clock.lap("pauses")
        turns.turn()
        clock.lap("speed")


def _take_extra_turns(
    contenders: Sequence[Turns], settings: Settings, order: random.Random, progress: Progress, clock: Stopwatch
) -> None:
    """Run extra rounds of the main workload until the ratios to the original are known."""
    for _ in progress.track(range(settings.extra or 0), "measuring speed on", settings.extra, "rounds"):
        if ratios_converged([turns.rates for turns in contenders], settings.precision):
            break
        for turns in order.sample(contenders, len(contenders)):
            time.sleep(settings.pause)
            clock.lap("pauses")
            turns.extra_turn()
            clock.lap("speed")


def ratios_converged(rates: Sequence[Sequence[float]], precision: float) -> bool:
    """Whether the interval of every contender's ratio to the first is within ``precision`` of it on either side."""
    for mine in rates[1:]:
        ratios = [a / b for a, b in zip(mine, rates[0], strict=True)]
        low, high = median_interval(ratios)
        if high - low > 2 * precision * float(np.median(ratios)):
            return False
    return True


def _measure_once(worker: Worker) -> Measures:
    """Load time, and peaks of memory before any larger batch."""
    memory = worker.send(Memory())
    phases = {f"{phase}_rss": Measure(value=peak) for phase, peak in memory.phases.items()}
    phases |= {f"{phase}_device": Measure(value=used) for phase, used in memory.device.items()}
    return {"peak_rss": Measure(value=memory.peak_rss), "load_s": Measure(value=worker.load_seconds)} | phases
