"""Measure speed by length and batch, with beam search and by sampling.

Rounds are interleaved and their order is drawn anew, as in `speed`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from compress.benchmarks.measure.stopwatch import Stopwatch
from compress.benchmarks.results.scorecard import Cell, Settings
from compress.benchmarks.runtime.engine import Ids
from compress.benchmarks.statistics.measure import Measure, percentile_over_rounds, summarize
from compress.benchmarks.worker.client import Worker
from compress.benchmarks.worker.protocol import Decode, Generate, TimeEncoding
from compress.progress import Progress

_ENOUGH = 2
"""tokens decoded, or batches embedded, in a turn at least"""
_GREEDY = Decode(ids=np.empty((0, 0), np.int64), steps=0)
"""To be asked with prompts and steps, and options of another mode."""


@dataclass
class _GridCell:
    """Seconds of one contender with ``batch`` rows of ``length`` tokens, round by round.

    ``mode`` has the options of another decoding than greedy.
    """

    worker: Worker
    settings: Settings
    length: int
    batch: int
    mode: Decode | None = None
    first: list[float] = field(default_factory=list)
    steps: list[list[float]] = field(default_factory=list)

    @property
    def possible(self) -> bool:
        """Whether the engine can run it: all decode one prompt greedily, and encode batches of any size."""
        if not self.worker.contender.kind.generates_text:
            return self.mode is None
        return self.worker.batches or (self.batch == 1 and self.mode is None)

    def warm(self, tokens: Ids) -> None:
        """Warm up with a shorter turn."""
        self._run(tokens, self.settings.warmup, 1)

    def turn(self, tokens: Ids) -> None:
        """Measure one round."""
        repeats = max(_ENOUGH, self.settings.runs // self.batch)
        first, steps = self._run(tokens, self.settings.steps, repeats)
        self.first.append(first)
        self.steps.append(steps)

    def _run(self, tokens: Ids, steps: int, repeats: int) -> tuple[float, list[float]]:
        """Seconds to the first token and of each of the steps; of an encoder's batches, where nothing comes first."""
        ids = np.resize(tokens, (self.batch, self.length))
        if not self.worker.contender.kind.generates_text:
            return 0.0, self.worker.send(TimeEncoding(ids, np.ones_like(ids), repeats)).seconds
        steps = min(steps, self.settings.steps_after(self.length))
        if self.batch == 1 and self.mode is None:
            generated = self.worker.send(Generate(ids[0], steps))
            return generated.first, generated.steps
        decoded = self.worker.send(replace(self.mode or _GREEDY, ids=ids, steps=steps))
        return decoded.first, decoded.steps

    def summary(self) -> Cell:
        """Summarize the rounds."""
        measures = self._decoding() if self.worker.contender.kind.generates_text else self._embedding()
        return Cell(length=self.length, batch=self.batch, measures=measures)

    def _embedding(self) -> dict[str, Measure]:
        return {
            "latency_p50": percentile_over_rounds(self.steps, 50),
            "latency_p95": percentile_over_rounds(self.steps, 95),
            "sentences_ps": summarize([self.batch / float(np.median(seconds)) for seconds in self.steps]),
        }

    def _decoding(self) -> dict[str, Measure]:
        tokens = self.batch * self.length
        measures = {
            "ttft": summarize(self.first),
            "prefill_tps": summarize([tokens / seconds for seconds in self.first]),
        }
        if len(self.steps[0]) < _ENOUGH:
            return measures
        quantiles = {f"itl_p{q}": percentile_over_rounds(self.steps, q) for q in (50, 95, 99)}
        return measures | {"decode_tps": self.rate()} | quantiles

    def rate(self) -> Measure:
        """Tokens decoded a second: those of the resulting text, whatever the number of beams."""
        return summarize([self.batch * len(seconds) / sum(seconds) for seconds in self.steps])


def measure_grid(
    workers: Sequence[Worker],
    tokens: Ids,
    settings: Settings,
    order: random.Random,
    progress: Progress,
    clock: Stopwatch,
) -> list[tuple[dict[str, Measure], tuple[Cell, ...]]]:
    """Measure every contender's rates of other decoding modes, and its cells; what an engine can't do is left out."""
    modes = {
        key: _possible(_GridCell(worker, settings, settings.prompt, 1, mode) for worker in workers)
        for key, mode in _decoding_modes(settings).items()
    }
    cells = [_possible(_GridCell(worker, settings, *cell) for worker in workers) for cell in settings.cells]
    groups = [*modes.values(), *cells]
    for group in progress.track(groups, "warming up", len(groups), "settings"):
        for cell in group:
            cell.warm(tokens)
    clock.lap("warm-up")
    rounds = [group for _ in range(settings.rounds) for group in order.sample(groups, len(groups))]
    for group in progress.track(rounds, "measuring lengths, batches, ways", len(rounds), "settings"):
        for cell in order.sample(group, len(group)):
            time.sleep(settings.pause)
            clock.lap("pauses")
            cell.turn(tokens)
            clock.lap("speed")
    return [
        (
            {key: cell.rate() for key, group in modes.items() for cell in group if cell.worker is worker},
            tuple(cell.summary() for group in cells for cell in group if cell.worker is worker),
        )
        for worker in workers
    ]


def _possible(every: Iterable[_GridCell]) -> list[_GridCell]:
    return [cell for cell in every if cell.possible]


def _decoding_modes(settings: Settings) -> dict[str, Decode]:
    """Request for every decoding mode besides greedy, by the key of its metric."""
    modes = {}
    if settings.beams is not None:
        modes["beam_tps"] = replace(_GREEDY, beams=settings.beams)
    if settings.sampling is not None:
        modes["sample_tps"] = replace(_GREEDY, sampling=settings.sampling, seed=settings.seed)
    return modes
