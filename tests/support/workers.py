"""Workers that answer without a process."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from compress.modeling.kinds import DECODER, TaskKind


class FakeWorker:
    """Answers every request by ``answer(request)``, and keeps the requests."""

    load_seconds = 0.5
    on_device = False

    def __init__(
        self,
        answer: Callable[[Any], object],
        kind: TaskKind = DECODER,
        batches: bool = True,
        read_bytes: int | None = None,
    ) -> None:
        self.contender = SimpleNamespace(kind=kind, name="fake", multi_label=False)
        self.batches = batches
        self.read_bytes = read_bytes
        self.requests: list[Any] = []
        self._answer = answer

    def send(self, request: Any) -> object:
        """The answer."""
        self.requests.append(request)
        return self._answer(request)
