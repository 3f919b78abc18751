"""A fresh process that loads one model and answers requests about it, one JSON line each.

It imports what its engine needs and nothing more, because its memory is one of the things measured. It ends with its
parent: when its input closes, it is gone, whatever it was doing.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np

from compress.benchmarks.runtime.decoding import BeamSearch, Decoding, Greedy, Sampled, Sampling
from compress.benchmarks.runtime.engine import BatchedEngine, DeviceEngine, Engine, Floats, Ids, TimedEngine, opener
from compress.benchmarks.statistics.logits import compare_logits, cosine, log_softmax, window_nll
from compress.benchmarks.worker.memory import Phases
from compress.errors import MissingComponentError, RunError
from compress.modeling.kinds import KINDS

_WATCHED = ("numpy", "onnx", "onnxruntime", "torch", "transformers")


class Service:
    """One loaded model and the requests that it answers; each public method is one of them."""

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._classifies = False
        self._phases = Phases()
        self._clock: Callable[[], float] = time.perf_counter

    def _loaded(self) -> Engine:
        if self._engine is None:
            raise RunError("nothing is open")
        return self._engine

    def open(self, engine: str, path: str, kind: str, threads: int) -> dict[str, Any]:
        """Load a model."""
        task = KINDS[kind]
        self._engine = opener(engine, task)(Path(path), task, threads)
        self._classifies = task.has_classes and not task.is_vision
        on_device = isinstance(self._engine, DeviceEngine) and self._engine.device != "cpu"
        if on_device:
            self._phases.watch_device()
        if isinstance(self._engine, TimedEngine):
            self._clock = self._engine.clock
        self._phases.end("load")
        facts = {"read_bytes": self._engine.read_bytes, "batches": isinstance(self._engine, BatchedEngine)}
        return facts | {"on_device": on_device}

    def generate(self, ids: list[int], steps: int) -> dict[str, Any]:
        """Seconds until the first token, and of each of ``steps`` further ones, greedy."""
        engine = self._loaded()
        prompt = np.array(ids, dtype=np.int64)
        begin = self._clock()
        tokens = [engine.start(prompt, steps)]
        first = self._clock() - begin
        self._phases.end("prefill")
        seconds = self._steps(steps, lambda: tokens.append(engine.step(tokens[-1])))
        return {"first": first, "steps": seconds, "tokens": tokens, "token_bytes": engine.token_bytes}

    def decode(
        self, ids: list[list[int]], steps: int, beams: int | None = None, sampling: dict[str, Any] | None = None,
        seed: int = 0,
    ) -> dict[str, Any]:  # fmt: skip
        """The same for prompts of one length: greedy, by beam search (one prompt) or by sampling."""
        engine = self._loaded()
        if not isinstance(engine, BatchedEngine):
            raise RunError("this engine runs no batches")
        prompts, decoding = np.array(ids, dtype=np.int64), _decoding(engine, beams, sampling, seed)
        begin = self._clock()
        decoding.start(prompts, steps)
        first = self._clock() - begin
        seconds = self._steps(steps, decoding.step)
        engine.release()
        return {"first": first, "steps": seconds, "tokens": decoding.written.tolist()}

    def _steps(self, count: int, step: Callable[[], None]) -> list[float]:
        """Seconds of each of so many steps."""
        ends = [self._clock()]
        for _ in range(count):
            step()
            ends.append(self._clock())
        if count:
            self._phases.end("decode")
        seconds: list[float] = np.diff(ends).tolist()
        return seconds

    def embed(self, ids: list[list[int]], mask: list[list[int]], repeats: int) -> dict[str, Any]:
        """Seconds of each of ``repeats`` embeddings, or classifications, of a batch."""
        batch, where = np.array(ids, dtype=np.int64), np.array(mask, dtype=np.int64)
        kinds = np.zeros_like(batch)
        seconds = []
        for _ in range(repeats):
            begin = self._clock()
            self._encoded(batch, where, kinds)
            seconds.append(self._clock() - begin)
        return {"seconds": seconds}

    def encode(self, ids: list[list[int]], mask: list[list[int]], kinds: list[list[int]]) -> dict[str, Any]:
        """A batch's embeddings ``[b, hidden]``, or a classifier's logits."""
        arrays = (np.array(each, dtype=np.int64) for each in (ids, mask, kinds))
        return {"outputs": _finite(self._encoded(*arrays)).tolist()}

    def look(self, images: str, rows: list[int], repeats: int) -> dict[str, Any]:
        """Seconds of each of ``repeats`` looks at some rows of a file of images, and a classifier's logits of them."""
        engine, seconds = self._loaded(), []
        pixels: Floats = np.ascontiguousarray(np.load(images, mmap_mode="r")[rows])
        for _ in range(repeats):
            begin = self._clock()
            logits = engine.classify_images(pixels)
            seconds.append(self._clock() - begin)
        return {"seconds": seconds, "outputs": _finite(logits).tolist()}

    def _encoded(self, ids: Ids, mask: Ids, kinds: Ids) -> Floats:
        engine = self._loaded()
        return engine.classify(ids, mask, kinds) if self._classifies else engine.embed(ids, mask)

    def likelihoods(self, ids: list[int], targets: list[list[int]]) -> dict[str, Any]:
        """Log-likelihood of each of the targets, in nats, and whether greedy decoding writes it.

        A target's last token follows the window, and those before it are the window's last.
        """
        logits = _finite(self._loaded().logits(np.array(ids, dtype=np.int64)))
        logs = log_softmax(logits[-max(map(len, targets)) :])
        values = [float(logs[np.arange(-len(each), 0), each].sum()) for each in targets]
        greedy = [logs[-len(each) :].argmax(-1).tolist() == each for each in targets]
        return {"values": values, "greedy": greedy}

    def start(self, ids: list[int], room: int) -> dict[str, Any]:
        """Read a prompt with room for so many more tokens; the greedy next token."""
        return {"token": self._loaded().start(np.array(ids, dtype=np.int64), room)}

    def step(self, token: int) -> dict[str, Any]:
        """Append a token; the greedy next one."""
        return {"token": self._loaded().step(token)}

    def memory(self) -> dict[str, Any]:
        """Peak resident bytes of this process so far, in all and by phase, and the heavy libraries that it imported."""
        imports = [name for name in _WATCHED if name in sys.modules]
        phases = self._phases
        return {"peak_rss": phases.peak, "phases": phases.peaks, "device": phases.devices, "imports": imports}

    def reference_logits(self, ids: list[int], to: str) -> dict[str, Any]:
        """Write a window's logits ``[s, v]`` for others to compare with."""
        window = np.array(ids, dtype=np.int64)
        logits = _finite(self._loaded().logits(window))
        np.save(to, logits)
        return {"nll": window_nll(logits, window)}

    def compare_logits(self, ids: list[int], reference: str) -> dict[str, Any]:
        """Score a window against the original's logits."""
        window = np.array(ids, dtype=np.int64)
        logits = _finite(self._loaded().logits(window))
        return asdict(compare_logits(np.load(reference, mmap_mode="r"), logits, window))

    def reference_embeddings(self, ids: list[list[int]], mask: list[list[int]], to: str) -> dict[str, Any]:
        """Write a batch's embeddings ``[b, hidden]`` for others to compare with."""
        np.save(to, _finite(self._loaded().embed(np.array(ids, dtype=np.int64), np.array(mask, dtype=np.int64))))
        return {}

    def compare_embeddings(self, ids: list[list[int]], mask: list[list[int]], reference: str) -> dict[str, Any]:
        """Cosine similarities to the original's embeddings."""
        mine = _finite(self._loaded().embed(np.array(ids, dtype=np.int64), np.array(mask, dtype=np.int64)))
        return {"cosines": cosine(mine, np.load(reference)).tolist()}


def _decoding(engine: BatchedEngine, beams: int | None, sampling: dict[str, Any] | None, seed: int) -> Decoding:
    if sampling is not None:
        return Sampled(engine, Sampling(**sampling), seed)
    return Greedy(engine) if beams is None else BeamSearch(engine, beams)


def _finite(outputs: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    if not np.isfinite(outputs).all():
        raise RunError("its outputs aren't finite")
    return outputs


def answer(service: Service, line: str) -> dict[str, Any]:
    """Do what a line asks for; a failure is an answer too."""
    try:
        fields = json.loads(line)
        request: Callable[..., dict[str, Any]] = getattr(service, fields.pop("do"))
        return {"ok": request(**fields)}
    except ModuleNotFoundError as error:
        return {"error": str(error), "missing": error.name}
    except MissingComponentError as error:
        return {"unavailable": str(error)}
    except Exception as error:
        return {"error": " ".join(f"{type(error).__name__}: {error}".split())}


def _read_lines(lines: IO[str], into: queue.SimpleQueue[str]) -> None:
    for line in lines:
        into.put(line)
    os._exit(0)  # the parent is gone: a run that nobody waits for must not go on


def main() -> None:
    """Answer lines until the input ends. Replies own the real standard output; libraries' prints go to stderr."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read_lines, args=(sys.stdin, requests), daemon=True).start()
    service = Service()
    while True:
        print(json.dumps(answer(service, requests.get())), file=replies, flush=True)


if __name__ == "__main__":
    main()
