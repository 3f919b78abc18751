"""Engine ``torch`` of encoder-decoders: transformers' own class in float32, with its default attention and caches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers import AutoModelForSeq2SeqLM, EncoderDecoderCache, PreTrainedModel

from compress.benchmarks.runtime.engine import Floats, Ids
from compress.benchmarks.runtime.torch_decoder import TorchDecoder, cached_token_bytes, last_logits
from compress.modeling.kinds import TaskKind
from compress.modeling.seq2seq import decoder_inputs, decoder_start_token, read_per_decoded_token

if TYPE_CHECKING:
    from compress.benchmarks.runtime.engine import BatchedEngine, DecoderEngine, Opener


class TorchSeq2SeqEngine(TorchDecoder):
    """Run an encoder-decoder checkpoint in transformers; the encoder reads the prompt."""

    @staticmethod
    def load(path: Path, kind: TaskKind) -> PreTrainedModel:
        """Load the checkpoint with its auto class."""
        module: PreTrainedModel = AutoModelForSeq2SeqLM.from_pretrained(
            path, dtype=torch.float32, local_files_only=True, trust_remote_code=False
        )
        module.eval()
        return module

    def read_bytes(self) -> int:
        """Bytes of weights that decoding a token reads: no encoder, no lookup table, no cached cross-attention."""
        parameters = self._module.named_parameters()
        return sum(p.nbytes for name, p in parameters if read_per_decoded_token(self._module, name))

    def token_bytes(self) -> int:
        """Bytes that one cached token takes, written or read."""
        cache = self._cache
        return cached_token_bytes(cache.self_attention_cache if isinstance(cache, EncoderDecoderCache) else cache)

    @torch.inference_mode()
    def begin(self, prompts: Ids, max_new_tokens: int) -> Floats:
        """Encode prompts and decode the start token."""
        self._cache = None
        self._states = self._module.get_encoder()(input_ids=torch.from_numpy(prompts))[0]
        return self.append(np.full(len(prompts), decoder_start_token(self._module.config)))

    def reorder(self, rows: Ids) -> None:
        """Copy rows of both caches, and of the encoder's states."""
        super().reorder(rows)
        self._states = self._states[torch.from_numpy(rows)]

    @torch.inference_mode()
    def _advance(self, ids: Ids) -> Floats:
        output = self._module(
            encoder_outputs=(self._states,),
            decoder_input_ids=torch.from_numpy(ids),
            past_key_values=self._cache,
            use_cache=True,
        )
        self._cache = output.past_key_values
        return last_logits(output.logits)

    @torch.inference_mode()
    def logits(self, ids: Ids) -> Floats:
        """Logits of one window ``[s]``, encoded and teacher-forced in the decoder; row i is for token i + 1.

        The last row, which is for no token, is the one before it again.
        """
        tokens = torch.from_numpy(ids)[None]
        decoded = decoder_inputs(self._module.config, tokens)
        logits = self._module(input_ids=tokens, decoder_input_ids=decoded, use_cache=False).logits[0].float()
        rows: Floats = torch.cat([logits[1:], logits[-1:]]).numpy()
        return rows


if TYPE_CHECKING:
    _decoder: Opener[DecoderEngine] = TorchSeq2SeqEngine
    _batched: Opener[BatchedEngine] = TorchSeq2SeqEngine
