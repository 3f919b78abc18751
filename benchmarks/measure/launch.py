"""One launch of a contender: a fresh process loads it, warms up, serves some rounds, and ends."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from compress.benchmarks.measure.speed_grid import Grid, measure_grid
from compress.benchmarks.measure.stopwatch import Stopwatch
from compress.benchmarks.measure.turns import DecoderTurns, EncoderTurns, Figures, Turns
from compress.benchmarks.results.contender import Contender
from compress.benchmarks.results.scorecard import Settings
from compress.benchmarks.runtime.engine import Ids
from compress.benchmarks.worker.client import Worker
from compress.benchmarks.worker.image_file import ImageFile
from compress.benchmarks.worker.protocol import Memory

Start = Callable[[Contender], AbstractContextManager[Worker]]
"""Start a worker for a contender; its process ends with the context."""


@dataclass(frozen=True)
class Workload:
    """Inputs of a launch: prompts are cut from ``tokens`` ``[n]``, or these are numbers of ``images``."""

    tokens: Ids
    settings: Settings
    images: ImageFile | None = None


@dataclass(frozen=True)
class Launch:
    """Figures of one launch, and those by length and batch."""

    figures: Figures
    cells: Grid


def launch(contender: Contender, start: Start, load: Workload, order: random.Random, clock: Stopwatch) -> Launch:
    """Launch a contender once.

    Peak memory is that of serving: nothing else runs in the process before it is read.
    """
    with start(contender) as worker:
        clock.lap("load")
        turns = _turns(worker, load)
        turns.warm_up()
        clock.lap("warm-up")
        for _ in range(load.settings.rounds):
            turns.turn()
        clock.lap("speed")
        figures = turns.figures() | _memory(worker) | {"load_s": [worker.load_seconds]}
        modes, cells = measure_grid(worker, load.tokens, load.settings, order, clock)
    clock.lap("load")
    return Launch(figures | modes, cells)


def _turns(worker: Worker, load: Workload) -> Turns:
    if worker.contender.kind.generates_text:
        return DecoderTurns(worker, load.tokens, load.settings)
    return EncoderTurns(worker, load.tokens, load.settings, load.images)


def _memory(worker: Worker) -> Figures:
    memory = worker.send(Memory())
    phases = {f"{phase}_rss": [float(peak)] for phase, peak in memory.phases.items()}
    phases |= {f"{phase}_device": [float(used)] for phase, used in memory.device.items()}
    return {"peak_rss": [float(memory.peak_rss)]} | phases
