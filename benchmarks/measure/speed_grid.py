"""Measure speed by length and batch, with beam search and by sampling, in one launch of a contender."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import numpy as np

from compress.benchmarks.measure.stopwatch import Stopwatch
from compress.benchmarks.measure.turns import Figures, quantile
from compress.benchmarks.results.scorecard import Settings
from compress.benchmarks.runtime.engine import Ids
from compress.benchmarks.worker.client import Worker
from compress.benchmarks.worker.protocol import Decode, Generate, TimeEncoding

Grid = dict[tuple[int, int], Figures]
"""Figures by length and batch."""

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

    def figures(self) -> Figures:
        """Figures of the rounds; quantiles are those over the steps of all rounds together."""
        return self._decoding() if self.worker.contender.kind.generates_text else self._embedding()

    def _embedding(self) -> Figures:
        return {
            "latency_p50": [float(np.median(seconds)) for seconds in self.steps],
            "latency_p95": [quantile(self.steps, 95)],
            "sentences_ps": [self.batch / float(np.median(seconds)) for seconds in self.steps],
        }

    def _decoding(self) -> Figures:
        tokens = self.batch * self.length
        figures = {"ttft": self.first, "prefill_tps": [tokens / seconds for seconds in self.first]}
        if len(self.steps[0]) < _ENOUGH:
            return figures
        return figures | {"decode_tps": self.rates()} | {f"itl_p{q}": [quantile(self.steps, q)] for q in (50, 95, 99)}

    def rates(self) -> list[float]:
        """Tokens decoded a second: those of the resulting text, whatever the number of beams."""
        return [self.batch * len(seconds) / sum(seconds) for seconds in self.steps]


def measure_grid(
    worker: Worker, tokens: Ids, settings: Settings, order: random.Random, clock: Stopwatch
) -> tuple[Figures, Grid]:
    """Measure rates of other decoding modes, and every length and batch; what an engine can't do is left out.

    A round goes through all of them in an order drawn anew.
    """
    modes = {key: _GridCell(worker, settings, settings.prompt, 1, mode) for key, mode in _modes(settings).items()}
    modes = {key: cell for key, cell in modes.items() if cell.possible}
    cells = [cell for cell in (_GridCell(worker, settings, *size) for size in settings.cells) if cell.possible]
    everything = [*modes.values(), *cells]
    for cell in everything:
        cell.warm(tokens)
    clock.lap("warm-up")
    for _ in range(settings.rounds):
        for cell in order.sample(everything, len(everything)):
            cell.turn(tokens)
    clock.lap("speed")
    rates = {key: cell.rates() for key, cell in modes.items()}
    return rates, {(cell.length, cell.batch): cell.figures() for cell in cells}


def _modes(settings: Settings) -> dict[str, Decode]:
    """Request for every decoding mode besides greedy, by the key of its metric."""
    modes = {}
    if settings.beams is not None:
        modes["beam_tps"] = replace(_GREEDY, beams=settings.beams)
    if settings.sampling is not None:
        modes["sample_tps"] = replace(_GREEDY, sampling=settings.sampling, seed=settings.seed)
    return modes
