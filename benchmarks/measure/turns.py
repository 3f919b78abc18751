"""Workload of one contender in one launch, and the figures of its rounds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from compress.benchmarks.results.scorecard import Settings
from compress.benchmarks.runtime.engine import Ids
from compress.benchmarks.worker.client import Worker
from compress.benchmarks.worker.image_file import ImageFile
from compress.benchmarks.worker.protocol import Generate, TimeEncoding

Figures = dict[str, list[float]]
"""Figures of one launch by the metric's key, round by round."""

_TURN, _READINGS = 1.0, 8
"""Seconds that a turn decodes at least, and how often the prompt is read for that at most."""

READ_RATE = "read_rate"
"""bytes of weights and cache that decoding reads a second"""


class Turns(ABC):
    """Turns of one contender on inputs cut from ``tokens`` ``[n]``, with the seconds of each round."""

    def __init__(self, worker: Worker, tokens: Ids, settings: Settings) -> None:
        self._worker = worker
        self._tokens = tokens
        self._settings = settings

    @abstractmethod
    def warm_up(self) -> None:
        """Warm up with a shorter turn."""

    @abstractmethod
    def turn(self) -> None:
        """Measure one round."""

    @abstractmethod
    def figures(self) -> Figures:
        """Figures of all rounds; quantiles are those over the steps of all rounds together."""


class DecoderTurns(Turns):
    """Turns of a model that generates text: a prompt with decoding after it, and a long prompt."""

    def __init__(self, worker: Worker, tokens: Ids, settings: Settings) -> None:
        super().__init__(worker, tokens, settings)
        self._first: list[float] = []
        self._prefill: list[float] = []
        self._steps: list[list[float]] = []
        self._token_bytes = 0

    def warm_up(self) -> None:
        """Warm up with few tokens decoded."""
        self._worker.send(Generate(self._prompt, self._settings.warmup))
        self._worker.send(Generate(self._long_prompt, 0))

    def turn(self) -> None:
        """Measure decoding, repeated where it is short (noise is large in short measurements), then the long prompt."""
        firsts: list[float] = []
        steps: list[float] = []
        while not firsts or (sum(steps) < _TURN and len(firsts) < _READINGS):
            generated = self._worker.send(Generate(self._prompt, self._settings.steps))
            firsts.append(generated.first)
            steps += generated.steps
            self._token_bytes = generated.token_bytes
        self._first.append(float(np.median(firsts)))
        self._steps.append(steps)
        self._prefill.append(self._worker.send(Generate(self._long_prompt, 0)).first)

    def figures(self) -> Figures:
        """Rates, latencies, and the rate of reading weights."""
        rates = [len(steps) / sum(steps) for steps in self._steps]
        figures = {
            "decode_tps": rates,
            **{f"itl_p{q}": [quantile(self._steps, q)] for q in (50, 95, 99)},
            "ttft": self._first,
            "prefill_tps": [self._settings.prefill / seconds for seconds in self._prefill],
        }
        if self._worker.read_bytes and not self._worker.on_device:
            cached = self._token_bytes * (self._settings.prompt + self._settings.steps / 2)
            figures[READ_RATE] = [rate * (self._worker.read_bytes + cached) for rate in rates]
        return figures

    @property
    def _prompt(self) -> Ids:
        return self._tokens[: self._settings.prompt]

    @property
    def _long_prompt(self) -> Ids:
        return self._tokens[: self._settings.prefill]


class EncoderTurns(Turns):
    """Turns of a model that encodes sentences or ``images``: single ones, and a batch."""

    def __init__(self, worker: Worker, tokens: Ids, settings: Settings, images: ImageFile | None = None) -> None:
        super().__init__(worker, tokens, settings)
        self._images = images
        self._single: list[list[float]] = []
        self._batched: list[float] = []

    def warm_up(self) -> None:
        """Warm up with few single ones and one batch."""
        self._encode(1, self._settings.warmup)
        self._encode(self._settings.batch, 1)

    def turn(self) -> None:
        """Measure single ones, then a batch."""
        self._single.append(self._encode(1, self._settings.runs))
        self._batched.append(float(np.median(self._encode(self._settings.batch, 2))))

    def figures(self) -> Figures:
        """Latencies and the rate of batches."""
        batches = "sentences_ps" if self._images is None else "images_ps"
        return {
            "latency_p50": [float(np.median(seconds)) for seconds in self._single],
            "latency_p95": [quantile(self._single, 95)],
            batches: [self._settings.batch / seconds for seconds in self._batched],
        }

    def _encode(self, batch: int, repeats: int) -> list[float]:
        """Seconds of each of so many repetitions."""
        ids = np.resize(self._tokens, (batch, self._settings.prompt))
        if self._images is not None:
            return self._images.classify(self._worker, ids, repeats).seconds
        return self._worker.send(TimeEncoding(ids, np.ones_like(ids), repeats)).seconds


def quantile(rounds: Sequence[Sequence[float]], q: int) -> float:
    """The q-th percentile of the values of all rounds together."""
    return float(np.percentile(np.concatenate(rounds), q))
