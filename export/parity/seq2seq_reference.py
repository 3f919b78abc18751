"""Outputs of an encoder-decoder in torch that both of its graphs have to reproduce."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from compress.export.parity.reference import Trace, TraceStep, arrays, cache_arrays
from compress.export.parity.sample import parity_inputs, spread_tokens
from compress.modeling.architecture import longest_input
from compress.modeling.seq2seq import decoder_inputs
from compress.onnx_names import DECODER, ENCODER

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_LONG = 256
"""Length of a long text, if a model takes in so many."""


def reference_traces(module: PreTrainedModel, ids: Tensor) -> dict[str, list[Trace]]:
    """The torch model's outputs by the graphs' files, for a text ``ids [length]``: alone, and in a padded batch.

    And for words from all over the vocabulary, as many as the model takes in or `_LONG`.
    """
    with torch.inference_mode():
        length = min(longest_input(module.config), _LONG)
        long = spread_tokens(module.config, length)[None]
        texts = [*parity_inputs(ids, pad_left=False), (f"a text of {length} tokens", long, torch.ones_like(long))]
        states = [module.get_encoder()(ids, mask)[0] for _, ids, mask in texts]
        encoder = [_encoder_trace(*text, hidden) for text, hidden in zip(texts, states, strict=True)]
        decoder = [_decoder_trace(module, *text, hidden) for text, hidden in zip(texts, states, strict=True)]
        return {ENCODER: encoder, DECODER: decoder}


def _encoder_trace(name: str, ids: Tensor, mask: Tensor, states: Tensor) -> Trace:
    inputs = {"input_ids": ids, "attention_mask": mask}
    return [TraceStep(name, arrays(inputs), {"last_hidden_state": states.numpy()}, mask.bool().numpy())]


def _decoder_trace(module: Any, name: str, ids: Tensor, mask: Tensor, states: Tensor) -> Trace:
    """The text, written but for its last token, then that token on the cache; expected are the logits of one run."""
    tokens = decoder_inputs(module.config, ids)
    text = {"encoder_outputs": (states,), "attention_mask": mask}
    logits = module(**text, decoder_input_ids=tokens, use_cache=False).logits.numpy()
    cache, steps, start = None, [], 0
    for part, end in (("without a cache", tokens.shape[1] - 1), ("with a cache", tokens.shape[1])):
        new = tokens[:, start:end]
        cache = module(**text, decoder_input_ids=new, past_key_values=cache, use_cache=True).past_key_values
        expected = {"logits": logits[:, start:end]}
        if len(ids) == 1:
            expected |= cache_arrays(cache.self_attention_cache, "decoder")
            expected |= cache_arrays(cache.cross_attention_cache, "encoder")
        inputs = {"input_ids": new, "encoder_attention_mask": mask, "encoder_hidden_states": states}
        steps.append(TraceStep(f"{name}, {part}", arrays(inputs), expected, torch.ones_like(new).bool().numpy()))
        start = end
    return steps
