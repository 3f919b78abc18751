"""Client of a worker process: start it, send requests, report failures."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from types import TracebackType
from typing import TypeVar

from compress.benchmarks.results.contender import Contender
from compress.benchmarks.runtime.specs import ENGINES
from compress.benchmarks.worker.protocol import Open, Request
from compress.benchmarks.worker.wire import Failure, read_reply, write_request
from compress.errors import MissingComponentError, RunError
from compress.system.environment import child_environment
from compress.system.process import python_command

A = TypeVar("A")
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}


class Worker:
    """Worker process with one contender loaded; ``load_seconds`` is from starting it until it can serve.

    ``batches``: whether it decodes more than one prompt at a time, with beams, and by sampling (`BatchedEngine`).
    ``on_device``: it serves from the memory of a device, not from that whose bandwidth is known.
    """

    def __init__(self, contender: Contender, threads: int) -> None:
        self.contender = contender
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process, closed with it
        begin = time.perf_counter()
        self._process = subprocess.Popen(
            python_command("compress.benchmarks.worker.server"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            env=child_environment(_ENVIRONMENT | {"OMP_NUM_THREADS": str(threads)}),
            start_new_session=True,  # an interrupt reaches the parent alone, which then ends its workers
        )
        try:
            kind = contender.kind.name
            opened = self.send(Open(contender.engine, str(contender.path), kind, threads))
        except BaseException:
            self.close()
            raise
        self.load_seconds = time.perf_counter() - begin
        self.read_bytes = contender.read_bytes or opened.read_bytes
        self.on_device = opened.on_device
        self.batches = opened.batches

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    def send(self, request: Request[A]) -> A:
        """Send a request and wait for its answer.

        Raises RunError for a failure and where the process died, MissingComponentError for what isn't installed.
        """
        name = self.contender.name
        reply = read_reply(self._exchange(write_request(request)), request.answer())
        if not isinstance(reply, Failure):
            return reply
        if reply.missing:
            raise MissingComponentError(f"{name} needs {reply.missing}: {ENGINES[self.contender.engine].install}")
        if reply.unavailable:
            raise MissingComponentError(f"{name}: {reply.error}")
        raise RunError(f"{name}: {request.name()} failed: {reply.error}")

    def _exchange(self, line: str) -> str:
        """Send a line and read its reply."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            reply = self._process.stdout.readline()
        except (BrokenPipeError, ValueError):
            reply = ""
        if not reply.endswith("\n"):
            raise RunError(f"{self.contender.name}: {self._death()}")
        return reply

    def _death(self) -> str:
        code = self._process.wait()
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        cause = f"signal {-code}, out of memory?" if code < 0 else f"exit {code}"
        return f"its process died ({cause}){': ' + lines[-1].strip() if lines else ''}"

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

    def __exit__(self, cls: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
