"""Options for writing a checkpoint: format, shard size, merging."""

from __future__ import annotations

from dataclasses import dataclass, field

from compress.formats.base import CheckpointFormat
from compress.formats.compressed_tensors import CompressedTensorsFormat

SHARD_BYTES = 4 << 30


@dataclass(frozen=True)
class WriteOptions:
    """The checkpoint's ``format``, how many bytes a file of it has at most (but for a tensor that is larger by itself),
    and whether products are multiplied out, each stored as one dense matrix (``merge``)."""

    format: CheckpointFormat = field(default_factory=CompressedTensorsFormat)
    shard_bytes: int = SHARD_BYTES
    merge: bool = False
