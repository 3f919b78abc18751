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

from compress.benchmarks.engine import Engine, opener
from compress.benchmarks.metrics import compare_logits, cosine, window_nll
from compress.errors import RunError

_WATCHED = ("numpy", "onnx", "onnxruntime", "torch", "transformers")


class Service:
    """One loaded model and the requests that it answers; each public method is one of them."""

    def __init__(self) -> None:
        self._engine: Engine | None = None

    def _loaded(self) -> Engine:
        if self._engine is None:
            raise RunError("nothing is open")
        return self._engine

    def open(self, engine: str, path: str, kind: str, threads: int) -> dict[str, Any]:
        """Load a model."""
        self._engine = opener(engine, kind)(Path(path), kind, threads)
        return {"read_bytes": self._engine.read_bytes}

    def generate(self, ids: list[int], steps: int) -> dict[str, Any]:
        """Seconds until the first token, and of each of ``steps`` further ones, greedy."""
        engine = self._loaded()
        prompt = np.array(ids, dtype=np.int64)
        begin = time.perf_counter()
        token = engine.start(prompt, steps)
        ends, tokens = [time.perf_counter()], [token]
        for _ in range(steps):
            token = engine.step(token)
            ends.append(time.perf_counter())
            tokens.append(token)
        seconds = np.diff(ends).tolist()
        return {"first": ends[0] - begin, "steps": seconds, "tokens": tokens, "token_bytes": engine.token_bytes}

    def embed(self, ids: list[list[int]], mask: list[list[int]], repeats: int) -> dict[str, Any]:
        """Seconds of each of ``repeats`` embeddings of a batch."""
        engine = self._loaded()
        batch, where = np.array(ids, dtype=np.int64), np.array(mask, dtype=np.int64)
        seconds = []
        for _ in range(repeats):
            begin = time.perf_counter()
            engine.embed(batch, where)
            seconds.append(time.perf_counter() - begin)
        return {"seconds": seconds}

    def memory(self) -> dict[str, Any]:
        """Peak resident bytes of this process so far, and the heavy libraries that it has imported."""
        return {"peak_rss": peak_rss(), "imports": [name for name in _WATCHED if name in sys.modules]}

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


def _finite(outputs: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    if not np.isfinite(outputs).all():
        raise RunError("its outputs aren't finite")
    return outputs


def peak_rss() -> int:
    """Peak resident bytes of this process (VmHWM, which unlike ``ru_maxrss`` begins anew with the program)."""
    try:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def answer(service: Service, line: str) -> dict[str, Any]:
    """Do what a line asks for; a failure is an answer too."""
    try:
        fields = json.loads(line)
        request: Callable[..., dict[str, Any]] = getattr(service, fields.pop("do"))
        return {"ok": request(**fields)}
    except ModuleNotFoundError as error:
        return {"error": str(error), "missing": error.name}
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
