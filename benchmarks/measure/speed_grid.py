"""Speed in every setting asked for beside the usual one: each length × batch, beam search, sampling.

Rounds are interleaved and their order is drawn anew, as in `speed`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from compress.benchmarks.measure.stopwatch import Stopwatch
from compress.benchmarks.results.scorecard import Cell, Settings
from compress.benchmarks.runtime.engine import Ids
from compress.benchmarks.statistics.measure import Measure, percentile_over_rounds, summarize
from compress.benchmarks.worker.client import Worker
from compress.progress import Progress

_ENOUGH = 2
"""tokens decoded, or batches embedded, in a turn at least"""


@dataclass
class _GridCell:
    """What one contender took with ``batch`` rows of ``length`` tokens, in seconds, round by round.

    ``mode`` holds the options of another decoding than greedy (`Service.decode`).
    """

    worker: Worker
    settings: Settings
    length: int
    batch: int
    mode: Mapping[str, Any] = field(default_factory=dict)
    first: list[float] = field(default_factory=list)
    steps: list[list[float]] = field(default_factory=list)

    @property
    def possible(self) -> bool:
        """Whether the engine can do it: all write greedily to one prompt, and read as many sentences as one likes."""
        if not self.worker.contender.kind.generates_text:
            return not self.mode
        return self.worker.batches or (self.batch == 1 and not self.mode)

    def warm(self, tokens: Ids) -> None:
        """A shorter turn, thrown away."""
        self._run(tokens, self.settings.warmup, 1)

    def turn(self, tokens: Ids) -> None:
        """One round."""
        repeats = max(_ENOUGH, self.settings.runs // self.batch)
        first, steps = self._run(tokens, self.settings.steps, repeats)
        self.first.append(first)
        self.steps.append(steps)

    def _run(self, tokens: Ids, steps: int, repeats: int) -> tuple[float, list[float]]:
        """Seconds to the first token and of each of the steps; of an encoder's batches, where nothing comes first."""
        ids = np.resize(tokens, (self.batch, self.length))
        if not self.worker.contender.kind.generates_text:
            mask = np.ones_like(ids).tolist()
            return 0.0, self.worker.ask("embed", ids=ids.tolist(), mask=mask, repeats=repeats)["seconds"]
        steps = min(steps, self.settings.steps_after(self.length))
        if self.batch == 1 and not self.mode:
            answer = self.worker.ask("generate", ids=ids[0].tolist(), steps=steps)
        else:
            answer = self.worker.ask("decode", ids=ids.tolist(), steps=steps, **self.mode)
        return answer["first"], answer["steps"]

    def summary(self) -> Cell:
        """The rounds, summed up."""
        measures = self._decoding() if self.worker.contender.kind.generates_text else self._embedding()
        return Cell(length=self.length, batch=self.batch, measures=measures)

    def _embedding(self) -> dict[str, Measure]:
        return {
            "latency_p50": percentile_over_rounds(self.steps, 50),
            "latency_p95": percentile_over_rounds(self.steps, 95),
            "sentences_ps": summarize([self.batch / float(np.median(each)) for each in self.steps]),
        }

    def _decoding(self) -> dict[str, Measure]:
        read = self.batch * self.length
        found = {
            "ttft": summarize(self.first),
            "prefill_tps": summarize([read / seconds for seconds in self.first]),
        }
        if len(self.steps[0]) < _ENOUGH:
            return found
        quantiles = {f"itl_p{q}": percentile_over_rounds(self.steps, q) for q in (50, 95, 99)}
        return found | {"decode_tps": self.rate()} | quantiles

    def rate(self) -> Measure:
        """Tokens decoded a second: those of the text that is written, however many beams are."""
        return summarize([self.batch * len(each) / sum(each) for each in self.steps])


def measure_grid(
    workers: Sequence[Worker],
    tokens: Ids,
    settings: Settings,
    order: random.Random,
    progress: Progress,
    clock: Stopwatch,
) -> list[tuple[dict[str, Measure], tuple[Cell, ...]]]:
    """Every contender's rates of other ways to decode, and its cells; what an engine can't do is left out."""
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


def _decoding_modes(settings: Settings) -> dict[str, Mapping[str, Any]]:
    """Options of every decoding mode besides greedy, by the key of its metric."""
    modes: dict[str, Mapping[str, Any]] = {}
    if settings.beams is not None:
        modes["beam_tps"] = {"beams": settings.beams}
    if settings.sampling is not None:
        modes["sample_tps"] = {"sampling": asdict(settings.sampling), "seed": settings.seed}
    return modes
