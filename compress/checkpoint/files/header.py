"""Header of a safetensors file: the shapes of its tensors, read within bounds and held against the file's size."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from compress.errors import ModelError

Shapes = dict[str, tuple[int, ...]]
"""Shapes of tensors by name."""

_LARGEST = 16 << 20
"""Bytes of a header that are read."""
_MOST_TENSORS = 200_000
"""Of a checkpoint, all files together: the largest models that are known have some 90,000."""


def read_header(file: Path) -> Shapes:
    """The shapes of a safetensors file's tensors; no data is read.

    Raises ModelError for a file that is none or beyond all bounds, or that isn't as long as its header says.
    """
    size = file.stat().st_size
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > _LARGEST:
                raise ModelError(f"{file}: its header is {length:,} bytes long, and {_LARGEST:,} are read at most")
            text = stream.read(min(length, size))
        check_count(file.parent, text.count(b'"data_offsets"'))  # before the seconds that parsing takes
        header: dict[str, Any] = json.loads(text)
        header.pop("__metadata__", None)
        end = 8 + length + max((info["data_offsets"][1] for info in header.values()), default=0)
        shapes = {name: tuple(info["shape"]) for name, info in header.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, struct.error, RecursionError) as error:
        raise ModelError(f"{file} is no readable safetensors file ({error})") from error
    if size != end:
        problem = "truncated" if size < end else "too long"
        raise ModelError(f"{file} is {problem}: {size} bytes where its header says {end}; fetch it again")
    return shapes


def check_count(path: Path, count: int) -> None:
    """Raise ModelError for more tensors in a directory than any model has."""
    if count > _MOST_TENSORS:
        raise ModelError(f"{path} has {count:,} tensors, and {_MOST_TENSORS:,} are read at most")
