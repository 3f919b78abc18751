"""The original as its user has it: transformers' own class, float32, its default attention and cache."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoConfig, DynamicCache

from compress.benchmarks.runtime.engine import Floats, Ids, mean_pooled
from compress.modeling.classifier import auto_class
from compress.modeling.kinds import TaskKind


class TorchEngine:
    """A checkpoint in transformers. Prompts are read as ``generate`` reads them: only the last logits are computed."""

    def __init__(self, path: Path, kind: TaskKind, threads: int) -> None:
        torch.set_num_threads(threads)
        self._module: Any = self.load(path, kind)
        keeps = "logits_to_keep" in inspect.signature(self._module.forward).parameters
        self._last_only = {"logits_to_keep": 1} if keeps else {}
        self._cache: Any = None

    @staticmethod
    def load(path: Path, kind: TaskKind) -> torch.nn.Module:
        """The module that is run."""
        named = AutoConfig.from_pretrained(path, local_files_only=True).architectures or [""]
        auto = getattr(transformers, auto_class(kind, named[0]))
        module: torch.nn.Module = auto.from_pretrained(path, dtype=torch.float32, local_files_only=True)
        return module.eval()

    @property
    def read_bytes(self) -> int:
        """Every parameter once, but for an embedding of which decoding reads a single row."""
        table = getattr(self._module.get_input_embeddings(), "weight", None)
        head = self._module.get_output_embeddings()
        looked_up = 0 if table is None or (head is not None and head.weight is table) else table.nbytes
        return int(sum(p.nbytes for p in self._module.parameters()) - looked_up)

    @property
    def token_bytes(self) -> int:
        """Bytes that one cached token takes."""
        layers = self._cache.layers
        return int(sum((each.keys.nbytes + each.values.nbytes) // each.keys.shape[-2] for each in layers))

    def start(self, prompt: Ids, room: int) -> int:
        """Read a prompt; its cache grows by itself."""
        return int(self.begin(prompt[None], room)[0].argmax())

    def step(self, token: int) -> int:
        """Append a token; the greedy next one."""
        return int(self.append(np.array([token]))[0].argmax())

    def begin(self, prompts: Ids, room: int) -> Floats:
        """Read prompts; their cache grows by itself."""
        self._cache = DynamicCache(config=self._module.config)
        return self._advance(prompts)

    def append(self, tokens: Ids) -> Floats:
        """Append a token to every row."""
        return self._advance(tokens[:, None])

    def reorder(self, rows: Ids) -> None:
        """Copy rows of the cache."""
        self._cache.batch_select_indices(torch.from_numpy(rows))

    def release(self) -> None:
        """Forget the cache; torch keeps no memory on the CPU."""
        self._cache = None

    @torch.inference_mode()
    def _advance(self, ids: Ids) -> Floats:
        output = self._module(
            input_ids=torch.from_numpy(ids), past_key_values=self._cache, use_cache=True, **self._last_only
        )
        logits: Floats = output.logits[:, -1].float().numpy()
        return logits

    @torch.inference_mode()
    def logits(self, ids: Ids) -> Floats:
        """Logits of one window."""
        output: Floats = self._module(input_ids=torch.from_numpy(ids)[None], use_cache=False).logits[0].float().numpy()
        return output

    @torch.inference_mode()
    def embed(self, ids: Ids, mask: Ids) -> Floats:
        """Sentence embeddings."""
        output = self._module(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
        return mean_pooled(output.last_hidden_state.float().numpy(), mask)

    @torch.inference_mode()
    def classify(self, ids: Ids, mask: Ids, kinds: Ids) -> Floats:
        """Logits of classes."""
        told = {"token_type_ids": torch.from_numpy(kinds)} if kinds.any() else {}
        output = self._module(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask), **told)
        logits: Floats = output.logits.float().numpy()
        return logits

    @torch.inference_mode()
    def classify_images(self, pixels: Floats) -> Floats:
        """Logits of images."""
        logits: Floats = self._module(pixel_values=torch.from_numpy(pixels)).logits.float().numpy()
        return logits


class HfEngine(TorchEngine):
    """A variant in transformers with its integers dequantized to float32: its accuracy, not its possible speed."""

    @staticmethod
    def load(path: Path, kind: TaskKind) -> torch.nn.Module:
        """The module that is run."""
        from compress.checkpoint.variant import (
            Variant,  # here: the torch baseline's memory and start have no part in it
        )

        module = Variant.open(path).torch_module()
        return module if kind.has_head else module.base_model
