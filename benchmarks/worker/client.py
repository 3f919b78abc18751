"""The parent's end of a worker: start it, ask it, and tell what went wrong when it dies."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from types import TracebackType
from typing import Any

from compress.benchmarks.results.contender import Contender
from compress.errors import MissingComponentError, RunError

_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
}
_EXTRAS = {"ort-cpu": "cpu", "genai": "cpu", "llama.cpp": "peers", "ort-cuda": "gpu", "tensorrt": "gpu"}


class Worker:
    """A fresh process with one contender loaded. ``load_seconds`` runs from starting it until it can serve.

    ``batches``: whether it decodes more than one prompt at a time, with beams, and by sampling (`BatchedEngine`).
    ``on_device``: it serves from the memory of a device, not from that whose bandwidth is known.
    """

    def __init__(self, contender: Contender, threads: int) -> None:
        self.contender = contender
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process, closed with it
        begin = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "compress.benchmarks.worker.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            env=os.environ | _ENVIRONMENT | {"OMP_NUM_THREADS": str(threads)},
            start_new_session=True,  # an interrupt reaches the parent alone, which then ends its workers
        )
        try:
            opened = self.ask(
                "open", engine=contender.engine, path=str(contender.path), kind=contender.kind.name, threads=threads
            )
        except BaseException:
            self.close()
            raise
        self.load_seconds = time.perf_counter() - begin
        self.read_bytes: int | None = contender.read_bytes or opened["read_bytes"]
        self.on_device: bool = opened["on_device"]
        self.batches: bool = opened["batches"]

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """Send a request and wait for its answer; a RunError tells of a failure or of the process's death."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **fields}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except (BrokenPipeError, ValueError):
            line = ""
        if not line.endswith("\n"):
            raise RunError(f"{self.contender.name}: {self._death()}")
        reply = json.loads(line)
        if reply.get("missing"):
            extra = _EXTRAS.get(self.contender.engine, "cpu")
            raise MissingComponentError(
                f"{self.contender.name} needs {reply['missing']}: pip install 'compress-models[{extra}]'"
            )
        if "unavailable" in reply:
            raise MissingComponentError(f"{self.contender.name}: {reply['unavailable']}")
        if "error" in reply:
            raise RunError(f"{self.contender.name}: {do} failed: {reply['error']}")
        answer: dict[str, Any] = reply["ok"]
        return answer

    def _death(self) -> str:
        code = self._process.wait()
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        how = f"signal {-code}, out of memory?" if code < 0 else f"exit {code}"
        return f"its process died ({how}){': ' + lines[-1].strip() if lines else ''}"

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._stderr.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
