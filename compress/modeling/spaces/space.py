"""Spaces of a model's channels: which tensors write to a hidden state and which read it, so that it may be rotated.

SpaceRecord that are only ever added, normed and multiplied with matrices can be rotated where all these tensors are
rotated too, and the model computes the same: the residual stream, the values of an attention head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from compress.modeling.spaces.norms import Norm


@dataclass(frozen=True)
class Writer:
    """A tensor whose ``axis`` holds a space's channels: a linear's rows, a bias, the columns of a table."""

    name: str
    axis: int


@dataclass(frozen=True)
class Reader:
    """A linear with a space's channels as inputs, behind the ``norm`` of that name if there is one.

    ``columns`` int64 ``[in]``: the channel that each input is.
    """

    name: str
    bias: str | None
    columns: Tensor = field(compare=False)
    norm: str | None


@dataclass(frozen=True)
class Space:
    """SpaceRecord that may be rotated among each other, by ``rows`` int64 ``[parts, size]``: each part by itself.

    ``in_heads``: they are values of attention, one part a head. ``norms`` by their module's names.
    """

    writers: tuple[Writer, ...]
    readers: tuple[Reader, ...]
    norms: Mapping[str, Norm]
    rows: Tensor = field(compare=False)
    in_heads: bool

    @property
    def size(self) -> int:
        """Number of channels that are rotated among each other."""
        return self.rows.shape[1]

    @property
    def centered(self) -> bool:
        """Whether a norm takes the mean out of it."""
        return any(norm.centered for norm in self.norms.values())

    @property
    def tied(self) -> str | None:
        """The tensor that both writes to it and reads it behind a gain, which can't be rotated as one; or None."""
        written = {writer.name for writer in self.writers}
        return next((reader.name for reader in self.readers if reader.norm and reader.name in written), None)


@dataclass(frozen=True)
class Spaces:
    """The spaces of a model.

    ``streams``: those that norms read, of the embedding's channels. ``heads``: the values of attention.
    ``stream_reason`` and ``heads_reason``: why there are none of those.
    """

    streams: tuple[Space, ...]
    heads: tuple[Space, ...]
    stream_reason: str | None
    heads_reason: str | None
