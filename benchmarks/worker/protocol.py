"""What a worker is asked and what it answers: a dataclass for each, one JSON line each way.

A request is ``{"do": its name, field: value, ...}``, a reply ``{"ok": {field: value, ...}}`` or ``{"failed": {...}}``.
Arrays are lists on the wire; what is large (images, reference outputs) goes through ``.npy`` files that a request
names. Nothing but numpy is imported, because a worker's memory is measured.
"""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Generic, TypeVar, cast, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from compress.benchmarks.runtime.decoding import Sampling
from compress.benchmarks.runtime.engine import Ids
from compress.benchmarks.statistics.logits import WindowScore
from compress.errors import RunError

A = TypeVar("A")


class Request(Generic[A]):
    """Something to ask a worker, answered by an ``A``. Subclasses are frozen dataclasses."""

    @classmethod
    def name(cls) -> str:
        """What the request is called on the wire: ``compare_logits`` for `CompareLogits`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    @classmethod
    def answer(cls) -> type[A]:
        """The class of the answer."""
        (base,) = cls.__dict__["__orig_bases__"]
        return cast(type[A], get_args(base)[0])


@dataclass(frozen=True)
class Failure:
    """Why there is no answer.

    ``missing``: a module that isn't installed. ``unavailable``: this machine lacks what it takes, such as a GPU.
    """

    error: str
    missing: str | None = None
    unavailable: bool = False


@dataclass(frozen=True)
class Opened:
    """A model that is loaded.

    ``read_bytes``: weight bytes that decoding one token reads, where the engine knows. ``batches``: whether it decodes
    several prompts at a time, with beams, and by sampling. ``on_device``: it serves from the memory of a device.
    """

    read_bytes: int | None
    batches: bool
    on_device: bool


@dataclass(frozen=True)
class Open(Request[Opened]):
    """Load the model in a directory; ``kind`` is the name of its task kind."""

    engine: str
    path: str
    kind: str
    threads: int


@dataclass(frozen=True)
class Generated:
    """Seconds until the first token and of each of the ``steps`` after it, the tokens, and bytes that one is cached in.

    There is one token more than there are steps.
    """

    first: float
    steps: list[float]
    tokens: list[int]
    token_bytes: int


@dataclass(frozen=True)
class Generate(Request[Generated]):
    """Read a prompt ``[s]`` and decode so many further tokens greedily."""

    ids: Ids
    steps: int


@dataclass(frozen=True)
class Decoded:
    """Seconds as in `Generated`; the tokens of every row, or beam, ``[rows, 1 + steps]``."""

    first: float
    steps: list[float]
    tokens: list[list[int]]


@dataclass(frozen=True)
class Decode(Request[Decoded]):
    """The same for prompts ``[b, s]``: greedily, with so many ``beams`` (one prompt), or by seeded ``sampling``."""

    ids: Ids
    steps: int
    beams: int | None = None
    sampling: Sampling | None = None
    seed: int = 0


@dataclass(frozen=True)
class EncodingTimes:
    """Seconds of each repetition."""

    seconds: list[float]


@dataclass(frozen=True)
class TimeEncoding(Request[EncodingTimes]):
    """Embed, or classify, a batch ``[b, s]`` so many times."""

    ids: Ids
    mask: Ids
    repeats: int


@dataclass(frozen=True)
class Encoded:
    """Embeddings ``[b, hidden]``, or a classifier's logits ``[b, labels]`` or ``[b, s, labels]``."""

    outputs: NDArray[np.float64]


@dataclass(frozen=True)
class Encode(Request[Encoded]):
    """Embed, or classify, a batch ``[b, s]``."""

    ids: Ids
    mask: Ids
    token_types: Ids


@dataclass(frozen=True)
class ClassifiedImages:
    """Seconds of each repetition, and the logits ``[b, labels]``."""

    seconds: list[float]
    outputs: NDArray[np.float64]


@dataclass(frozen=True)
class ClassifyImages(Request[ClassifiedImages]):
    """Classify these rows of the images ``[n, c, h, w]`` in a file so many times."""

    images: str
    rows: Ids
    repeats: int


@dataclass(frozen=True)
class TargetLikelihoods:
    """Log-likelihood of each target in nats, and whether greedy decoding writes it."""

    values: list[float]
    greedy: list[bool]


@dataclass(frozen=True)
class LogLikelihoods(Request[TargetLikelihoods]):
    """How likely each of some targets is after the same tokens.

    A target's last token follows the window ``ids`` ``[s]``, and those before it are the window's last.
    """

    ids: Ids
    targets: list[list[int]]


@dataclass(frozen=True)
class NextToken:
    """The greedy next token."""

    token: int


@dataclass(frozen=True)
class ReadPrompt(Request[NextToken]):
    """Read a prompt ``[s]`` into a cache that takes so many more tokens."""

    ids: Ids
    max_new_tokens: int


@dataclass(frozen=True)
class AppendToken(Request[NextToken]):
    """Append a token."""

    token: int


@dataclass(frozen=True)
class MemoryUse:
    """Peak resident bytes in all and by phase, bytes of a device by phase, and the heavy libraries imported."""

    peak_rss: int
    phases: dict[str, int]
    device: dict[str, int]
    imports: list[str]


@dataclass(frozen=True)
class Memory(Request[MemoryUse]):
    """What the worker's process has used so far."""


@dataclass(frozen=True)
class ReferenceLogits(Request[WindowScore]):
    """Write a window's logits ``[s, v]`` to a file for others to compare with; its score against itself."""

    ids: Ids
    file: str


@dataclass(frozen=True)
class CompareLogits(Request[WindowScore]):
    """Score a window ``[s]`` against the logits in a file."""

    ids: Ids
    file: str


@dataclass(frozen=True)
class Cosines:
    """Of each sentence's embedding to the original's."""

    values: list[float]


@dataclass(frozen=True)
class ReferenceEmbeddings(Request[Cosines]):
    """Write a batch's embeddings ``[b, hidden]`` to a file for others to compare with; their cosines to themselves."""

    ids: Ids
    mask: Ids
    file: str


@dataclass(frozen=True)
class CompareEmbeddings(Request[Cosines]):
    """Compare a batch's embeddings with those in a file."""

    ids: Ids
    mask: Ids
    file: str


REQUESTS = {cls.name(): cast(type[Request[object]], cls) for cls in Request.__subclasses__()}
"""Every request by its name on the wire."""


def write_request(request: Request[A]) -> str:
    """A request as a line."""
    return json.dumps({"do": request.name(), **_plain_fields(request)})


def read_request(line: str) -> Request[object]:
    """The request in a line; a RunError where it is none, or a field is missing, unknown or of another type."""
    try:
        message = json.loads(line)
    except ValueError as error:
        raise RunError(f"a request is a line of JSON, not {line[:80]!r}") from error
    if not isinstance(message, dict) or message.get("do") not in REQUESTS:
        raise RunError(f"no request that a worker knows: {line[:80]!r}")
    return _parsed(REQUESTS[message.pop("do")], message, "request")


def write_reply(reply: object) -> str:
    """An answer, or a `Failure`, as a line."""
    return json.dumps({"failed" if isinstance(reply, Failure) else "ok": _plain_fields(reply)})


def read_reply(line: str, answer: type[A]) -> A | Failure:
    """The answer in a line, or the failure; a RunError where it is neither."""
    try:
        message = json.loads(line)
    except ValueError as error:
        raise RunError(f"a reply is a line of JSON, not {line[:80]!r}") from error
    match message:
        case {"ok": dict(values)}:
            return _parsed(answer, values, "answer")
        case {"failed": dict(values)}:
            return _parsed(Failure, values, "failure")
    raise RunError(f"no reply of a worker: {line[:80]!r}")


def _plain_fields(message: object) -> dict[str, object]:
    """A dataclass's fields as JSON has them."""
    return {field.name: _plain(getattr(message, field.name)) for field in fields(message)}  # type: ignore[arg-type]


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return _plain_fields(value) if is_dataclass(value) else value


@cache
def _types(cls: type) -> dict[str, object]:
    """The type of each field."""
    return get_type_hints(cls)


def _parsed(cls: type[A], values: dict[str, object], role: str) -> A:
    """A dataclass of values as JSON has them."""
    types = _types(cls)  # type: ignore[arg-type]  # a class is hashable
    required = [field.name for field in fields(cls) if field.default is MISSING]  # type: ignore[arg-type]
    if unknown := values.keys() - types.keys():
        raise RunError(f"the {role} {cls.__name__} has no field {min(unknown)}")
    if missing := [name for name in required if name not in values]:
        raise RunError(f"the {role} {cls.__name__} lacks {' and '.join(missing)}")
    try:
        return cls(**{name: _typed(types[name], value, name) for name, value in values.items()})
    except TypeError as error:
        raise RunError(f"the {role} {cls.__name__}: {error}") from error


def _typed(annotation: object, value: object, name: str) -> object:
    """A value in the type of its field; a TypeError where it has another."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is UnionType:
        (inner,) = (part for part in parts if part is not NoneType)
        return None if value is None else _typed(inner, value, name)
    if origin is np.ndarray:
        return _array(get_args(parts[1])[0], value, name)
    if is_dataclass(annotation) and isinstance(annotation, type) and isinstance(value, dict):
        return _parsed(annotation, value, "field")
    if origin is list and isinstance(value, list):
        return [_typed(parts[0], item, name) for item in value]
    if origin is tuple and isinstance(value, list):
        return tuple(_typed(parts[0], item, name) for item in value)
    if origin is dict and isinstance(value, dict):
        return {key: _typed(parts[1], item, name) for key, item in value.items()}
    if annotation is float and type(value) is int:
        return float(value)
    if type(value) is annotation:
        return value
    raise TypeError(f"{name} can't be {str(value)[:40]!r}")


def _array(dtype: type[np.generic], value: object, name: str) -> NDArray[np.generic]:
    """A list of numbers as an array; integers where its type holds no others."""
    try:
        array = np.array(value)
    except ValueError as error:
        raise TypeError(f"{name} has rows of different lengths") from error
    if array.size and not np.can_cast(array.dtype, dtype, "same_kind"):
        raise TypeError(f"{name} has elements of type {array.dtype}, not {dtype.__name__}")
    return array.astype(dtype)
