"""Base of the engines that run a transformers model in torch."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from pathlib import Path

import torch
from transformers import Cache, PreTrainedModel
from transformers.cache_utils import CacheLayerMixin

from compress.benchmarks.runtime.engine import BatchedDecoder, Floats, Ids
from compress.errors import RunError
from compress.modeling.kinds import TaskKind


class TorchDecoder(BatchedDecoder):
    """Engine of a transformers model in torch on the CPU; `load` says which class.

    Prompts are read as ``generate`` reads them: only the last logits are computed where the model can do that.
    """

    def __init__(self, path: Path, kind: TaskKind, threads: int) -> None:
        torch.set_num_threads(threads)
        self._module = self.load(path, kind)
        last_only = "logits_to_keep" in inspect.signature(self._module.forward).parameters
        self._last_only = {"logits_to_keep": 1} if last_only else {}
        self._cache: Cache | None = None

    @staticmethod
    @abstractmethod
    def load(path: Path, kind: TaskKind) -> PreTrainedModel:
        """Load the module that is run from a directory."""

    def append(self, tokens: Ids) -> Floats:
        """Append a token to every row."""
        return self._advance(tokens[:, None])

    def reorder(self, rows: Ids) -> None:
        """Copy rows of the cache. Raises RunError before a `begin`."""
        if self._cache is None:
            raise RunError("rows of a cache before the prompt")
        self._cache.batch_select_indices(torch.from_numpy(rows))

    def release(self) -> None:
        """Release the cache; torch keeps no memory on the CPU."""
        self._cache = None

    @abstractmethod
    def _advance(self, ids: Ids) -> Floats:
        """Append tokens ``[b, s]``; the logits ``[b, vocabulary]`` after the last."""


def last_logits(logits: torch.Tensor) -> Floats:
    """The last position of logits ``[b, s, vocabulary]``, in float32: ``[b, vocabulary]``."""
    last: Floats = logits[:, -1].float().numpy()
    return last


def cached_token_bytes(cache: Cache | None) -> int:
    """Bytes that one token takes in a cache; 0 where there is none yet."""
    layers = [] if cache is None else [layer for layer in cache.layers if isinstance(layer, CacheLayerMixin)]
    pairs = [(layer.keys, layer.values) for layer in layers if layer.keys is not None and layer.values is not None]
    return sum((keys.nbytes + values.nbytes) // keys.shape[-2] for keys, values in pairs)
