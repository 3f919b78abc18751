"""Answers to every request about one loaded model."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from compress.benchmarks.runtime.decoding import BeamSearch, Decoding, Greedy, Sampled
from compress.benchmarks.runtime.engine import (
    BatchedEngine,
    ClassifierEngine,
    DecoderEngine,
    DeviceEngine,
    EncoderEngine,
    Floats,
    Ids,
    ImageEngine,
    TimedEngine,
)
from compress.benchmarks.runtime.load import load_engine
from compress.benchmarks.statistics.logits import (
    Cosines,
    WindowScore,
    compare_embeddings,
    compare_logits,
    log_softmax,
    score_original,
)
from compress.benchmarks.worker import protocol
from compress.benchmarks.worker.memory import Phases
from compress.errors import RunError
from compress.modeling.kinds import DECODER, KINDS

A = TypeVar("A")
_WATCHED = ("numpy", "onnx", "onnxruntime", "torch", "transformers")
"""Libraries that a worker tells of, if they are imported."""


class Service:
    """Service of one model: each public method answers the request of its name (`protocol`).

    Raises RunError for a request before `open`, and for one that the engine has no way to answer.
    """

    def __init__(self) -> None:
        self._engine: object = None
        self._kind = DECODER
        self._phases = Phases()
        self._clock: Callable[[], float] = time.perf_counter

    def answer(self, request: protocol.Request[A]) -> A:
        """Answer any request."""
        method: Callable[[protocol.Request[A]], A] = getattr(self, request.name())
        return method(request)

    def open(self, request: protocol.Open) -> protocol.Opened:
        """Load a model."""
        self._kind = KINDS[request.kind]
        engine = self._engine = load_engine(request.engine, Path(request.path), self._kind, request.threads)
        on_device = isinstance(engine, DeviceEngine) and engine.device != "cpu"
        if on_device:
            self._phases.watch_device()
        if isinstance(engine, TimedEngine):
            self._clock = engine.clock
        self._phases.end("load")
        read_bytes = self._decoder.read_bytes() if self._kind.generates_text else None
        return protocol.Opened(read_bytes, isinstance(engine, BatchedEngine), on_device)

    def memory(self, request: protocol.Memory) -> protocol.MemoryUse:
        """Report the peaks so far."""
        imports = [name for name in _WATCHED if name in sys.modules]
        return protocol.MemoryUse(self._phases.peak, self._phases.peaks, self._phases.devices, imports)

    def generate(self, request: protocol.Generate) -> protocol.Generated:
        """Time greedy decoding of one prompt."""
        engine = self._decoder
        begin = self._clock()
        tokens = [engine.start(request.ids, request.steps)]
        first = self._clock() - begin
        self._phases.end("prefill")
        seconds = self._time_steps(request.steps, lambda: tokens.append(engine.step(tokens[-1])))
        return protocol.Generated(first, seconds, tokens, engine.token_bytes())

    def decode(self, request: protocol.Decode) -> protocol.Decoded:
        """Time another decoding, or several prompts."""
        engine = self._batched
        decoding = _decoding(engine, request)
        begin = self._clock()
        decoding.start(request.ids, request.steps)
        first = self._clock() - begin
        seconds = self._time_steps(request.steps, decoding.step)
        engine.release()
        return protocol.Decoded(first, seconds, decoding.written.tolist())

    def read_prompt(self, request: protocol.ReadPrompt) -> protocol.NextToken:
        """Read a prompt."""
        return protocol.NextToken(self._decoder.start(request.ids, request.max_new_tokens))

    def append_token(self, request: protocol.AppendToken) -> protocol.NextToken:
        """Append a token."""
        return protocol.NextToken(self._decoder.step(request.token))

    def time_encoding(self, request: protocol.TimeEncoding) -> protocol.EncodingTimes:
        """Time embeddings or classifications of one batch."""
        token_types = np.zeros_like(request.ids)
        seconds = []
        for _ in range(request.repeats):
            begin = self._clock()
            self._encoded(request.ids, request.mask, token_types)
            seconds.append(self._clock() - begin)
        return protocol.EncodingTimes(seconds)

    def encode(self, request: protocol.Encode) -> protocol.Encoded:
        """Embed or classify one batch."""
        outputs = self._encoded(request.ids, request.mask, request.token_types)
        return protocol.Encoded(_finite(outputs).astype(np.float64))

    def classify_images(self, request: protocol.ClassifyImages) -> protocol.ClassifiedImages:
        """Time classifications of some images."""
        engine, seconds = self._images, []
        pixels: Floats = np.ascontiguousarray(np.load(request.images, mmap_mode="r")[request.rows])
        for _ in range(request.repeats):
            begin = self._clock()
            logits = engine.classify_images(pixels)
            seconds.append(self._clock() - begin)
        return protocol.ClassifiedImages(seconds, _finite(logits).astype(np.float64))

    def log_likelihoods(self, request: protocol.LogLikelihoods) -> protocol.TargetLikelihoods:
        """Compare targets after the same tokens."""
        targets = request.targets
        logs = log_softmax(self._logits(request.ids)[-max(map(len, targets)) :], np.float64)
        values = [float(logs[np.arange(-len(target), 0), target].sum()) for target in targets]
        greedy = [logs[-len(target) :].argmax(-1).tolist() == target for target in targets]
        return protocol.TargetLikelihoods(values, greedy)

    def reference_logits(self, request: protocol.ReferenceLogits) -> WindowScore:
        """Write logits to a file."""
        logits = self._logits(request.ids)[request.first - 1 :]
        np.save(request.file, logits)
        return score_original(logits, request.ids[request.first - 1 :])

    def compare_logits(self, request: protocol.CompareLogits) -> WindowScore:
        """Compare logits with those in a file."""
        logits = self._logits(request.ids)[request.first - 1 :]
        return compare_logits(np.load(request.file, mmap_mode="r"), logits, request.ids[request.first - 1 :])

    def reference_embeddings(self, request: protocol.ReferenceEmbeddings) -> Cosines:
        """Write embeddings to a file."""
        embeddings = _finite(self._encoder.embed(request.ids, request.mask))
        np.save(request.file, embeddings)
        return Cosines.of_original(embeddings)

    def compare_embeddings(self, request: protocol.CompareEmbeddings) -> Cosines:
        """Compare embeddings with those in a file."""
        embeddings = _finite(self._encoder.embed(request.ids, request.mask))
        return compare_embeddings(np.load(request.file), embeddings)

    @property
    def _decoder(self) -> DecoderEngine:
        if not isinstance(self._engine, DecoderEngine):
            raise self._unable("write text")
        return self._engine

    @property
    def _batched(self) -> BatchedEngine:
        if not isinstance(self._engine, BatchedEngine):
            raise self._unable("run batches")
        return self._engine

    @property
    def _encoder(self) -> EncoderEngine:
        if not isinstance(self._engine, EncoderEngine):
            raise self._unable("embed sentences")
        return self._engine

    @property
    def _classifier(self) -> ClassifierEngine:
        if not isinstance(self._engine, ClassifierEngine):
            raise self._unable("classify text")
        return self._engine

    @property
    def _images(self) -> ImageEngine:
        if not isinstance(self._engine, ImageEngine):
            raise self._unable("classify images")
        return self._engine

    def _unable(self, task: str) -> RunError:
        return RunError("nothing is open" if self._engine is None else f"this engine can't {task}")

    def _logits(self, ids: Ids) -> Floats:
        return _finite(self._decoder.logits(ids))

    def _encoded(self, ids: Ids, mask: Ids, token_types: Ids) -> Floats:
        if self._kind.has_classes:
            return self._classifier.classify(ids, mask, token_types)
        return self._encoder.embed(ids, mask)

    def _time_steps(self, count: int, step: Callable[[], None]) -> list[float]:
        """Seconds of each of so many steps."""
        ends = [self._clock()]
        for _ in range(count):
            step()
            ends.append(self._clock())
        if count:
            self._phases.end("decode")
        seconds: list[float] = np.diff(ends).tolist()
        return seconds


def _decoding(engine: BatchedEngine, request: protocol.Decode) -> Decoding:
    if request.sampling is not None:
        return Sampled(engine, request.sampling, request.seed)
    return Greedy(engine) if request.beams is None else BeamSearch(engine, request.beams)


def _finite(outputs: Floats) -> Floats:
    if not np.isfinite(outputs).all():
        raise RunError("its outputs aren't finite")
    return outputs
