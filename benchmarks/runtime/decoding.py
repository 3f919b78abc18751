"""Greedy decoding, beam search and sampling on any engine that runs batches.

What they choose is what transformers' ``generate`` chooses, with the end of the text held back: every contender of a
scorecard has to write equally many tokens. Only numpy is needed, as in the processes that are measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from compress.benchmarks.runtime.engine import BatchedEngine, Floats, Ids
from compress.benchmarks.statistics.logits import Doubles, log_softmax


@dataclass(frozen=True)
class Sampling:
    """Sampling parameters: the ``top_k`` likeliest tokens (0: all), of those as many as make up ``top_p``.

    Logits are divided by ``temperature`` before. Names, order and defaults are those of transformers.
    """

    top_k: int = 50
    top_p: float = 1.0
    temperature: float = 1.0


class Decoding(Protocol):
    """Decoding mode that continues prompts; ``written`` ``[rows, n]`` are the tokens so far."""

    written: Ids

    def start(self, prompts: Ids, max_new_tokens: int) -> None:
        """Read prompts ``[b, s]`` into a cache with capacity for so many more tokens, and choose the first."""

    def step(self) -> None:
        """Choose the next token."""


class Greedy:
    """Greedy decoding: the likeliest token of every row."""

    def __init__(self, engine: BatchedEngine) -> None:
        self._engine = engine
        self.written: Ids = np.empty((0, 0), np.int64)

    def start(self, prompts: Ids, max_new_tokens: int) -> None:
        """Read the prompts."""
        self.written = self._engine.begin(prompts, max_new_tokens).argmax(-1)[:, None]

    def step(self) -> None:
        """Append one token to every row."""
        self.written = _appended(self.written, self._engine.append(self.written[:, -1]).argmax(-1))


class BeamSearch:
    """Beam search over one prompt, best beam first: ``written`` has a row for each beam.

    All beams are equally long, so that a length penalty would change nothing.
    """

    def __init__(self, engine: BatchedEngine, beams: int) -> None:
        self._engine, self._beams = engine, beams
        self._scores: Floats = np.zeros(1, np.float32)
        self.written: Ids = np.empty((1, 0), np.int64)

    def start(self, prompts: Ids, max_new_tokens: int) -> None:
        """Read the prompt ``[1, s]`` once; the beams part after it."""
        self._scores, self.written = np.zeros(1, np.float32), np.empty((1, 0), np.int64)
        self._keep(self._engine.begin(prompts, max_new_tokens))

    def step(self) -> None:
        """Keep the best continuations of all beams."""
        self._keep(self._engine.append(self.written[:, -1]))

    def _keep(self, logits: Floats) -> None:
        scores = (self._scores[:, None] + log_softmax(logits, np.float32)).ravel()
        best = largest(scores, self._beams)
        rows, tokens = np.divmod(best, logits.shape[1])
        self._engine.reorder(rows)
        self._scores, self.written = scores[best], _appended(self.written[rows], tokens)


class Sampled:
    """Sampling: a token for every row, drawn with a seeded generator."""

    def __init__(self, engine: BatchedEngine, sampling: Sampling, seed: int) -> None:
        self._engine, self._sampling = engine, sampling
        self._draws = np.random.default_rng(seed)
        self.written: Ids = np.empty((0, 0), np.int64)

    def start(self, prompts: Ids, max_new_tokens: int) -> None:
        """Read the prompts."""
        self.written = self._drawn(self._engine.begin(prompts, max_new_tokens))[:, None]

    def step(self) -> None:
        """Append one token to every row."""
        self.written = _appended(self.written, self._drawn(self._engine.append(self.written[:, -1])))

    def _drawn(self, logits: Floats) -> Ids:
        return np.array([pick_token(*candidates(row, self._sampling), self._draws.random()) for row in logits])


def candidates(logits: Floats, sampling: Sampling) -> tuple[Ids, Doubles]:
    """Tokens that sampling may draw after ``logits`` ``[vocabulary]``, by rising probability, and their probabilities.

    As transformers' warpers have it: those as likely as the last of ``top_k`` stay too, and the likeliest always does.
    """
    scaled = logits / np.float32(sampling.temperature)
    tokens: Ids = np.arange(len(scaled))
    if 0 < sampling.top_k < len(scaled):
        tokens = np.flatnonzero(scaled >= np.partition(scaled, -sampling.top_k)[-sampling.top_k])
    tokens = tokens[np.argsort(scaled[tokens])]
    likely = _softmax(scaled[tokens])
    left_out = np.cumsum(likely) <= 1 - sampling.top_p
    left_out[-1] = False
    nucleus = likely[~left_out]
    return tokens[~left_out], nucleus / nucleus.sum()


def pick_token(tokens: Ids, probabilities: Doubles, uniform: float) -> int:
    """Draw the token at a place between 0 and 1 of the cumulative probabilities."""
    place = int(np.searchsorted(np.cumsum(probabilities), uniform, side="right"))
    return int(tokens[min(place, len(tokens) - 1)])


def largest(values: Floats, count: int) -> Ids:
    """Indices of the largest of ``values`` ``[n]``, largest first."""
    places: Ids = np.argpartition(values, -count)[-count:]
    return places[np.argsort(-values[places])]


def _softmax(logits: Floats) -> Doubles:
    raised = np.exp(logits.astype(np.float64) - logits.max())
    probabilities: Doubles = raised / raised.sum()
    return probabilities


def _appended(rows: Ids, tokens: Ids) -> Ids:
    return np.concatenate([rows, tokens[:, None]], axis=1)
