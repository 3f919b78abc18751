"""Helpers for encoder-decoder models (T5, BART, Marian): their shared embedding, head and decoder inputs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from compress.errors import ModelError
from compress.modeling.modules import table_names

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

CROSS_ATTENTION_KV = re.compile(r"\.(EncDecAttention\.[kv]|encoder_attn\.[kv]_proj)\.")
"""In the names of what makes the keys and values that a decoder's layers attend to of the encoder's states."""


def check_shared_embedding(path: Path, config: PretrainedConfig) -> None:
    """A ModelError for a config by which encoder and decoder have tables of their own."""
    if not (config.tie_word_embeddings and getattr(config, "share_encoder_decoder_embeddings", True)):
        raise ModelError(
            f"{path}: a {config.model_type} whose encoder and decoder don't share their embedding is not supported"
        )


def declares_untied_head(raw: Mapping[str, object]) -> bool:
    """Whether a ``config.json`` says that the head is one of its own, in the words that T5's have for it.

    Those of T5 1.1 and Flan do; transformers 5 writes it as an output that isn't scaled.
    """
    return raw.get("tie_word_embeddings") is False or raw.get("scale_decoder_outputs") is False


def lm_head_name(module: PreTrainedModel) -> str:
    """The name of a module's head, a matrix."""
    head = module.get_output_embeddings()
    return next(f"{name}.weight" for name, child in module.named_modules() if child is head)


def untie_head(module: PreTrainedModel) -> None:
    """Untie a module's head: a matrix of its own, as large as the embedding."""
    name, head = lm_head_name(module), module.get_output_embeddings()
    head.weight = nn.Parameter(torch.empty_like(head.weight))
    module.all_tied_weights_keys.pop(name, None)


def decoder_inputs(config: PretrainedConfig, tokens: Tensor) -> Tensor:
    """The decoder's inputs for writing ``tokens`` ``[b, s]``: shifted right by one, behind the start token."""
    return torch.cat([torch.full_like(tokens[:, :1], decoder_start_token(config)), tokens[:, :-1]], dim=1)


def decoder_start_token(config: PretrainedConfig) -> int:
    """The decoder's start token; where its config doesn't say, that which pads (T5) or that which begins texts."""
    tokens = (getattr(config, name, None) for name in ("decoder_start_token_id", "pad_token_id", "bos_token_id"))
    return next((int(token) for token in tokens if token is not None), 0)


def read_per_decoded_token(module: PreTrainedModel, name: str) -> bool:
    """Whether writing a token reads a tensor that is stored by that name: the decoder's, and the head's.

    Not what makes the cache of cross-attention, which is made once. An embedding is read whole where it is the head.
    """
    decoder = next(path for path, child in module.named_modules() if child is module.get_decoder())
    head = table_names(module, module.get_output_embeddings())[0].removesuffix("weight")
    return name.startswith(head) or (name.startswith(f"{decoder}.") and not CROSS_ATTENTION_KV.search(name))
