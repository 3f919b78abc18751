"""Speed and memory of serving: a process a contender, turns interleaved round by round, order drawn anew."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from compress.benchmarks.measure.contention import Contention
from compress.benchmarks.measure.speed_grid import measure_grid
from compress.benchmarks.measure.stopwatch import Stopwatch
from compress.benchmarks.results.scorecard import Cell, Settings
from compress.benchmarks.runtime.engine import Ids
from compress.benchmarks.statistics.interval import median_interval
from compress.benchmarks.statistics.measure import Measure, percentile_over_rounds, summarize
from compress.benchmarks.worker.client import Worker
from compress.benchmarks.worker.image_file import Images
from compress.progress import Progress

Measures = dict[str, Measure]

_TURN, _AGAIN = 1.0, 8
"""Seconds that a turn decodes at least, and how often the prompt is read for that at most."""

READ_RATE = "read_rate"
"""bytes of weights and cache that decoding reads a second"""


@dataclass
class DecoderSpeed:
    """What a decoder's rounds gave, in seconds."""

    settings: Settings
    first: list[float] = field(default_factory=list)
    prefill: list[float] = field(default_factory=list)
    steps: list[list[float]] = field(default_factory=list)
    token_bytes: int = 0

    def turn(self, worker: Worker, tokens: Ids) -> None:
        """One round of one contender: prompt and decoding, then a long prompt."""
        self.extra(worker, tokens)
        long = tokens[: self.settings.prefill].tolist()
        self.prefill.append(worker.ask("generate", ids=long, steps=0)["first"])

    def extra(self, worker: Worker, tokens: Ids) -> None:
        """Prompt and decoding alone; again where it took no time: a machine's noise is heard in what is short."""
        prompt = tokens[: self.settings.prompt].tolist()
        firsts: list[float] = []
        steps: list[float] = []
        while not firsts or (sum(steps) < _TURN and len(firsts) < _AGAIN):
            answer = worker.ask("generate", ids=prompt, steps=self.settings.steps)
            firsts.append(answer["first"])
            steps += answer["steps"]
            self.token_bytes = answer["token_bytes"]
        self.first.append(float(np.median(firsts)))
        self.steps.append(steps)

    @property
    def rates(self) -> list[float]:
        """Tokens decoded a second, round by round."""
        return [len(steps) / sum(steps) for steps in self.steps]

    def warm(self, worker: Worker, tokens: Ids) -> None:
        """The same once, shorter and thrown away."""
        worker.ask("generate", ids=tokens[: self.settings.prompt].tolist(), steps=self.settings.warmup)
        worker.ask("generate", ids=tokens[: self.settings.prefill].tolist(), steps=0)

    def measures(self, worker: Worker) -> Measures:
        """The rounds, summed up."""
        decode = summarize(self.rates)
        found = {
            "decode_tps": decode,
            "itl_p50": percentile_over_rounds(self.steps, 50),
            "itl_p95": percentile_over_rounds(self.steps, 95),
            "itl_p99": percentile_over_rounds(self.steps, 99),
            "ttft": summarize(self.first),
            "prefill_tps": summarize([self.settings.prefill / seconds for seconds in self.prefill]),
        }
        if worker.read_bytes and not worker.on_device:
            cached = self.token_bytes * (self.settings.prompt + self.settings.steps / 2)
            found[READ_RATE] = summarize([rate * (worker.read_bytes + cached) for rate in decode.rounds])
        return found


@dataclass
class EncoderSpeed:
    """What an encoder's rounds gave, in seconds; with ``images``, those of one that sees."""

    settings: Settings
    images: Images | None = None
    single: list[list[float]] = field(default_factory=list)
    batched: list[float] = field(default_factory=list)

    def turn(self, worker: Worker, tokens: Ids) -> None:
        """One round of one contender: single sentences, then a batch."""
        self.extra(worker, tokens)
        self.batched.append(float(np.median(self._embed(worker, tokens, self.settings.batch, 2))))

    def extra(self, worker: Worker, tokens: Ids) -> None:
        """Single sentences alone."""
        self.single.append(self._embed(worker, tokens, 1, self.settings.runs))

    @property
    def rates(self) -> list[float]:
        """Single sentences a second, round by round."""
        return [1 / float(np.median(each)) for each in self.single]

    def warm(self, worker: Worker, tokens: Ids) -> None:
        """The same, thrown away."""
        self._embed(worker, tokens, 1, self.settings.warmup)
        self._embed(worker, tokens, self.settings.batch, 1)

    def _embed(self, worker: Worker, tokens: Ids, batch: int, repeats: int) -> list[float]:
        ids = np.resize(tokens, (batch, self.settings.prompt))
        if self.images is not None:
            answer = self.images.ask(worker, ids, repeats)
        else:
            answer = worker.ask("embed", ids=ids.tolist(), mask=np.ones_like(ids).tolist(), repeats=repeats)
        seconds: list[float] = answer["seconds"]
        return seconds

    def measures(self, worker: Worker) -> Measures:
        """The rounds, summed up."""
        return {
            "latency_p50": percentile_over_rounds(self.single, 50),
            "latency_p95": percentile_over_rounds(self.single, 95),
            "sentences_ps" if self.images is None else "images_ps": summarize(
                [self.settings.batch / seconds for seconds in self.batched]
            ),
        }


@dataclass(frozen=True)
class SpeedResults:
    """Every contender's measures and cells, in their order, and the cores that other programs kept busy meanwhile."""

    measures: list[Measures]
    cells: list[tuple[Cell, ...]]
    cores_used_by_others: float


def measure_speed(
    workers: Sequence[Worker],
    tokens: Ids,
    settings: Settings,
    progress: Progress,
    clock: Stopwatch,
    images: Images | None = None,
) -> SpeedResults:
    """Speed, peak memory and load time of every contender, in their order; ``tokens`` ``[n]`` feed the prompts, or
    are ``images``.

    All of them are loaded, have done nothing yet, and are warmed up first. In a turn one runs and the others idle; the
    pause before it lets the threads of the last one stop spinning. Peak memory is that of serving: nothing else runs in
    these processes before it is told.
    """
    needed = max(settings.prompt, settings.prefill)
    tokens = np.resize(tokens, max(needed, settings.batch * settings.prompt))
    order = random.Random(settings.seed)
    speeds = [
        DecoderSpeed(settings) if worker.contender.kind.generates_text else EncoderSpeed(settings, images)
        for worker in workers
    ]
    for worker, speed in zip(workers, speeds, strict=True):
        speed.warm(worker, tokens)
    clock.lap("warm-up")
    every = range(len(workers))
    turns = [turn for _ in range(settings.rounds) for turn in order.sample(every, len(workers))]
    contention = Contention([worker.pid for worker in workers])
    for turn in progress.track(turns, "measuring speed", len(turns), "turns"):
        time.sleep(settings.pause)
        clock.lap("pauses")
        speeds[turn].turn(workers[turn], tokens)
        clock.lap("speed")
    for _ in progress.track(range(settings.extra or 0), "measuring speed on", settings.extra, "rounds"):
        if ratios_converged([speed.rates for speed in speeds], settings.precision):
            break
        for turn in order.sample(every, len(workers)):
            time.sleep(settings.pause)
            clock.lap("pauses")
            speeds[turn].extra(workers[turn], tokens)
            clock.lap("speed")
    found = [speed.measures(worker) | _once(worker) for worker, speed in zip(workers, speeds, strict=True)]
    more = measure_grid(workers, tokens, settings, order, progress, clock)
    measures = [each | ways for each, (ways, _) in zip(found, more, strict=True)]
    return SpeedResults(measures, [cells for _, cells in more], contention.cores_used_by_others())


def ratios_converged(rates: Sequence[Sequence[float]], precision: float) -> bool:
    """Whether every contender's ratio to the first is known to such a share of it, by the interval of its rounds."""
    for mine in rates[1:]:
        ratios = [a / b for a, b in zip(mine, rates[0], strict=True)]
        low, high = median_interval(ratios)
        if high - low > 2 * precision * float(np.median(ratios)):
            return False
    return True


def _once(worker: Worker) -> Measures:
    """What is measured once: load time, and peaks of memory before any larger batch."""
    memory = worker.ask("memory")
    phases = {f"{phase}_rss": Measure(value=peak) for phase, peak in memory["phases"].items()}
    phases |= {f"{phase}_device": Measure(value=held) for phase, held in memory["device"].items()}
    return {"peak_rss": Measure(value=memory["peak_rss"]), "load_s": Measure(value=worker.load_seconds)} | phases
