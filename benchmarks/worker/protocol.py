"""Requests to a worker and its answers: a dataclass for each, which `wire` writes as lines.

What is large (images, reference outputs) goes through ``.npy`` files that a request names. Nothing but numpy is
imported, because a worker's memory is measured.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Generic, TypeVar, cast, get_args

import numpy as np
from numpy.typing import NDArray

from compress.benchmarks.runtime.decoding import Sampling
from compress.benchmarks.runtime.engine import Ids
from compress.benchmarks.statistics.logits import Cosines, WindowScore

A = TypeVar("A")


class Request(Generic[A]):
    """Base of requests, which are frozen dataclasses, answered by an ``A``."""

    @classmethod
    def name(cls) -> str:
        """Name of the request on the wire: ``compare_logits`` for `CompareLogits`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    @classmethod
    def answer(cls) -> type[A]:
        """The class of the answer."""
        (base,) = cls.__dict__["__orig_bases__"]
        return cast(type[A], get_args(base)[0])


@dataclass(frozen=True)
class Opened:
    """Facts of a loaded model.

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
    """Seconds to the first token and of each of the ``steps`` after it, the tokens, and the cache bytes of one.

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
    """Decode prompts ``[b, s]``: greedily, with so many ``beams`` (one prompt), or by seeded ``sampling``."""

    ids: Ids
    steps: int
    beams: int | None = None
    sampling: Sampling | None = None
    seed: int = 0


@dataclass(frozen=True)
class EncodingTimes:
    """Seconds of each repetition of an encoding."""

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
    """Compute the log-likelihood of each of some targets after the same tokens.

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
    """Report the memory that the worker's process has used so far."""


@dataclass(frozen=True)
class ReferenceLogits(Request[WindowScore]):
    """Write a window's logits ``[s, v]`` to a file for others to compare with; its score against itself.

    The tokens before ``first`` are read and not predicted.
    """

    ids: Ids
    file: str
    first: int = 1


@dataclass(frozen=True)
class CompareLogits(Request[WindowScore]):
    """Score a window ``[s]`` from its token ``first`` on against the logits in a file."""

    ids: Ids
    file: str
    first: int = 1


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
