"""Write a checkpoint's safetensors files: a shard whenever one is full, then the index and the hashes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from compress.checkpoint.files.hashes import sha256
from compress.checkpoint.files.shards import SAFE
from compress.checkpoint.files.sums import record_hashes
from compress.errors import ExportError


class ShardWriter:
    """Writer of safetensors files, each of at most ``limit`` bytes but for a tensor that is larger by itself.

    A name may stand for a tensor: ``read`` gives it again when its shard is written. ``dtypes`` counts float tensors.
    """

    def __init__(self, directory: Path, limit: int, read: Callable[[str], Tensor]) -> None:
        self.directory = directory
        self.dtypes: Counter[torch.dtype] = Counter()
        self._limit = limit
        self._read = read
        self._pending: dict[str, Tensor | str] = {}
        self._pending_bytes = 0
        self._bytes = 0
        self._shards: list[list[str]] = []
        self._sums: list[str] = []

    def put(self, name: str, tensor: Tensor, source: str | None = None) -> None:
        """Add a tensor; one that can be read again as ``source`` isn't kept in memory."""
        size = tensor.numel() * tensor.element_size()
        if self._pending and self._pending_bytes + size > self._limit:
            self._flush()
        self._pending[name] = tensor if source is None else source
        self._pending_bytes += size
        self._bytes += size
        if tensor.is_floating_point():
            self.dtypes[tensor.dtype] += 1

    def finish(self) -> dict[str, str]:
        """Write what is left, the index where there are several files, and the files' hashes, which are returned."""
        self._flush()
        count = len(self._shards)
        finals = [SAFE] if count == 1 else [f"model-{i:05d}-of-{count:05d}.safetensors" for i in range(1, count + 1)]
        where = {}
        for i, (final, names) in enumerate(zip(finals, self._shards, strict=True), 1):
            (self.directory / _unnamed(i)).rename(self.directory / final)
            where.update(dict.fromkeys(names, final))
        sums = dict(zip(finals, self._sums, strict=True))
        record_hashes(self.directory, sums)
        if count > 1:
            index = {"metadata": {"total_size": self._bytes}, "weight_map": where}
            (self.directory / f"{SAFE}.index.json").write_text(json.dumps(index, indent=2) + "\n")
        return sums

    def _flush(self) -> None:
        addresses: set[int] = set()
        pending = self._pending.items()
        tensors = {name: self._read(t).contiguous() if isinstance(t, str) else t for name, t in pending}
        for name, tensor in tensors.items():
            if tensor.data_ptr() in addresses:  # a tied matrix under its second name: the format wants it twice
                tensors[name] = tensor.clone()
            addresses.add(tensor.data_ptr())
        file = self.directory / _unnamed(len(self._shards) + 1)
        try:
            save_file(tensors, file, {"format": "pt"})
        except SafetensorError as error:  # whatever the operating system says comes as one of these
            raise ExportError(
                f"{file.name} can't be written ({error}); free disk space or choose another output"
            ) from error
        self._shards.append(list(self._pending))
        self._sums.append(sha256(file))  # now: the system still has its pages in memory
        self._pending.clear()
        self._pending_bytes = 0


def _unnamed(index: int) -> str:
    """The temporary name of a shard, until their count is known."""
    return f"model-{index:05d}.safetensors"
