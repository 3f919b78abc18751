"""Engine ``torch``: transformers' own class in float32, with its default attention and cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
import transformers
from transformers import AutoConfig, DynamicCache, PreTrainedModel

from compress.benchmarks.runtime.engine import Floats, Ids
from compress.benchmarks.runtime.torch_decoder import TorchDecoder, cached_token_bytes, last_logits
from compress.checkpoint.sentence.modules import sentence_chain
from compress.modeling.classifier import auto_class
from compress.modeling.kinds import TaskKind

if TYPE_CHECKING:
    from compress.benchmarks.runtime.engine import (
        BatchedEngine,
        ClassifierEngine,
        DecoderEngine,
        EncoderEngine,
        ImageEngine,
        Opener,
    )


class TorchEngine(TorchDecoder):
    """Run a checkpoint in transformers, of any kind but encoder-decoders."""

    def __init__(self, path: Path, kind: TaskKind, threads: int) -> None:
        super().__init__(path, kind, threads)
        if not kind.has_head:
            self._chain = sentence_chain(path, kind, self._module.config)

    @staticmethod
    def load(path: Path, kind: TaskKind) -> PreTrainedModel:
        """Load the checkpoint with its auto class."""
        architectures = AutoConfig.from_pretrained(
            path, local_files_only=True, trust_remote_code=False
        ).architectures or [""]
        auto = getattr(transformers, auto_class(kind, architectures[0]))
        module: PreTrainedModel = auto.from_pretrained(
            path, dtype=torch.float32, local_files_only=True, trust_remote_code=False
        )
        module.eval()
        return module

    def read_bytes(self) -> int:
        """Bytes of all parameters, but for an embedding of which decoding reads a single row."""
        table = self._module.get_input_embeddings().weight
        head = self._module.get_output_embeddings()
        total = sum(parameter.nbytes for parameter in self._module.parameters())
        if not isinstance(table, torch.Tensor) or (head is not None and head.weight is table):
            return total
        return total - table.nbytes

    def token_bytes(self) -> int:
        """Bytes that one cached token takes."""
        return cached_token_bytes(self._cache)

    def begin(self, prompts: Ids, max_new_tokens: int) -> Floats:
        """Read prompts; their cache grows by itself."""
        self._cache = DynamicCache(config=self._module.config)
        return self._advance(prompts)

    @torch.inference_mode()
    def _advance(self, ids: Ids) -> Floats:
        inputs = {"input_ids": torch.from_numpy(ids), "past_key_values": self._cache, **self._last_only}
        return last_logits(self._module(**inputs, use_cache=True).logits)

    @torch.inference_mode()
    def logits(self, ids: Ids) -> Floats:
        """Logits ``[s, vocabulary]`` of one window ``[s]``."""
        output: Floats = self._module(input_ids=torch.from_numpy(ids)[None], use_cache=False).logits[0].float().numpy()
        return output

    @torch.inference_mode()
    def embed(self, ids: Ids, mask: Ids) -> Floats:
        """Sentence embeddings ``[b, hidden]``."""
        text = torch.from_numpy(mask)
        hidden = self._module(input_ids=torch.from_numpy(ids), attention_mask=text).last_hidden_state.float()
        embeddings: Floats = self._chain.embed(hidden, text).numpy()
        return embeddings

    @torch.inference_mode()
    def classify(self, ids: Ids, mask: Ids, token_types: Ids) -> Floats:
        """Class logits ``[b, labels]`` or ``[b, s, labels]``."""
        pair = {"token_type_ids": torch.from_numpy(token_types)} if token_types.any() else {}
        output = self._module(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask), **pair)
        logits: Floats = output.logits.float().numpy()
        return logits

    @torch.inference_mode()
    def classify_images(self, pixels: Floats) -> Floats:
        """Class logits ``[b, labels]`` of images."""
        logits: Floats = self._module(pixel_values=torch.from_numpy(pixels)).logits.float().numpy()
        return logits


if TYPE_CHECKING:
    _decoder: Opener[DecoderEngine] = TorchEngine
    _batched: Opener[BatchedEngine] = TorchEngine
    _encoder: Opener[EncoderEngine] = TorchEngine
    _classifier: Opener[ClassifierEngine] = TorchEngine
    _images: Opener[ImageEngine] = TorchEngine
