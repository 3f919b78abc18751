"""Encoder-decoders as their users have them: transformers' own class, float32, its default attention and caches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForSeq2SeqLM

from compress.benchmarks.engines.pytorch import TorchEngine
from compress.benchmarks.runtime.engine import Floats, Ids
from compress.modeling.kinds import TaskKind
from compress.modeling.seq2seq import decoder_inputs, decoder_start_token, read_per_decoded_token


class TorchSeq2SeqEngine(TorchEngine):
    """A checkpoint in transformers. A prompt is what the encoder reads; the decoder starts behind it."""

    @staticmethod
    def load(path: Path, kind: TaskKind) -> torch.nn.Module:
        """The module that is run."""
        module = AutoModelForSeq2SeqLM.from_pretrained(path, dtype=torch.float32, local_files_only=True)
        return module.eval()  # type: ignore[no-any-return]

    @property
    def read_bytes(self) -> int:
        """What writing a token reads: no encoder, no table that is only looked up in, nothing that made a cache."""
        parameters = self._module.named_parameters()
        return int(sum(p.nbytes for name, p in parameters if read_per_decoded_token(self._module, name)))

    @property
    def token_bytes(self) -> int:
        """Bytes that one cached token takes, written or read."""
        layers = self._cache.self_attention_cache.layers
        return int(sum((each.keys.nbytes + each.values.nbytes) // each.keys.shape[-2] for each in layers))

    @torch.inference_mode()
    def begin(self, prompts: Ids, room: int) -> Floats:
        """Let the encoder read prompts, and the decoder start."""
        self._cache = None
        self._states = self._module.get_encoder()(input_ids=torch.from_numpy(prompts))[0]
        return self.append(np.full(len(prompts), decoder_start_token(self._module.config)))

    def reorder(self, rows: Ids) -> None:
        """Copy rows of both caches, and of what the encoder made."""
        super().reorder(rows)
        self._states = self._states[torch.from_numpy(rows)]

    @torch.inference_mode()
    def _advance(self, ids: Ids) -> Floats:
        written = torch.from_numpy(ids)
        given = {"encoder_outputs": (self._states,), "decoder_input_ids": written, "past_key_values": self._cache}
        output = self._module(**given, use_cache=True)
        self._cache = output.past_key_values
        logits: Floats = output.logits[:, -1].float().numpy()
        return logits

    @torch.inference_mode()
    def logits(self, ids: Ids) -> Floats:
        """Logits of one window that the encoder reads and the decoder is to write; row i is for token i + 1.

        The last row, which is for no token, is the one before it again.
        """
        tokens = torch.from_numpy(ids)[None]
        written = decoder_inputs(self._module.config, tokens)
        said = self._module(input_ids=tokens, decoder_input_ids=written, use_cache=False).logits[0].float()
        rows: Floats = torch.cat([said[1:], said[-1:]]).numpy()
        return rows


class HfSeq2SeqEngine(TorchSeq2SeqEngine):
    """A variant in transformers with its integers dequantized to float32: its accuracy, not its possible speed."""

    @staticmethod
    def load(path: Path, kind: TaskKind) -> torch.nn.Module:
        """The module that is run."""
        from compress.checkpoint.variant import (
            Variant,  # here: the torch baseline's memory and start have no part in it
        )

        return Variant.open(path).torch_module()
