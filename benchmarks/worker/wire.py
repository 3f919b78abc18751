"""Lines between a worker and its client: requests one way, replies the other, each as JSON (`codec`).

A request is ``{"do": its name, field: value, ...}``, a reply ``{"ok": {field: value, ...}}`` or ``{"failed": {...}}``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TypeVar

from compress.benchmarks.worker.codec import from_plain, to_plain
from compress.benchmarks.worker.protocol import REQUESTS, Request
from compress.errors import RunError

A = TypeVar("A")


@dataclass(frozen=True)
class Failure:
    """Reply to a request that failed.

    ``missing``: a module that isn't installed. ``unavailable``: this machine lacks what it takes, such as a GPU.
    """

    error: str
    missing: str | None = None
    unavailable: bool = False


def write_request(request: Request[A]) -> str:
    """Encode a request as a line."""
    return json.dumps({"do": request.name(), **to_plain(request)})


def read_request(line: str) -> Request[object]:
    """Decode a request; a RunError where it is none, or a field is missing, unknown or of another type."""
    message = _load(line, "request")
    if not isinstance(message, dict) or message.get("do") not in REQUESTS:
        raise RunError(f"no request that a worker knows: {line[:80]!r}")
    return from_plain(REQUESTS[message.pop("do")], message, "request")


def write_reply(reply: object) -> str:
    """Encode an answer, or a `Failure`, as a line."""
    return json.dumps({"failed" if isinstance(reply, Failure) else "ok": to_plain(reply)})


def read_reply(line: str, answer: type[A]) -> A | Failure:
    """Decode an answer or a failure; a RunError where it is neither."""
    match _load(line, "reply"):
        case {"ok": dict(values)}:
            return from_plain(answer, values, "answer")
        case {"failed": dict(values)}:
            return from_plain(Failure, values, "failure")
    raise RunError(f"no reply of a worker: {line[:80]!r}")


def _load(line: str, role: str) -> object:
    try:
        return json.loads(line)
    except ValueError as error:
        raise RunError(f"a {role} is a line of JSON, not {line[:80]!r}") from error
