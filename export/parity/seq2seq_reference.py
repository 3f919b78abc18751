"""What an encoder-decoder in torch says to a text: the reference of both of its graphs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from compress.export.parity.compare import Step, Trace, arrays, parity_inputs, rounded_inputs
from compress.modeling.seq2seq import decoder_inputs
from compress.onnx_names import DECODER, ENCODER

Traces = Mapping[str, list[Trace]]
"""By the graphs' files."""


def reference_traces(module: PreTrainedModel, ids: Tensor) -> Traces:
    """What the torch model says to a text ``ids [length]``: alone, and beside two shorter ones that are padded."""
    with torch.inference_mode():
        read = [(name, *given, module.get_encoder()(*given)[0]) for name, *given in parity_inputs(ids, left=False)]
        return {
            ENCODER: [[_encoded(name, ids, mask, states)] for name, ids, mask, states in read],
            DECODER: [_written(module, *case) for case in read],
        }


def traces_with_rounded_inputs(module: PreTrainedModel, ids: Tensor) -> Traces:
    """What it would say if every linear rounded its inputs to 8 bits."""
    with rounded_inputs(module):
        return reference_traces(module, ids)


def _encoded(name: str, ids: Tensor, mask: Tensor, states: Tensor) -> Step:
    inputs = {"input_ids": ids, "attention_mask": mask}
    return Step(name, arrays(inputs), {"last_hidden_state": states.numpy()}, mask.bool().numpy())


def _written(module: Any, name: str, ids: Tensor, mask: Tensor, states: Tensor) -> Trace:
    """The text, written but for its last token, then that token on the cache; they say what the whole does."""
    tokens = decoder_inputs(module.config, ids)
    read = {"encoder_outputs": (states,), "attention_mask": mask}
    whole = module(**read, decoder_input_ids=tokens, use_cache=False).logits.numpy()
    cache, steps, start = None, [], 0
    for part, end in (("without a cache", tokens.shape[1] - 1), ("with a cache", tokens.shape[1])):
        fed = tokens[:, start:end]
        cache = module(**read, decoder_input_ids=fed, past_key_values=cache, use_cache=True).past_key_values
        expected = {"logits": whole[:, start:end]}
        if len(ids) == 1:
            for side, held in (("decoder", cache.self_attention_cache), ("encoder", cache.cross_attention_cache)):
                for i, layer in enumerate(held.layers):
                    expected[f"present.{i}.{side}.key"] = layer.keys.numpy().copy()
                    expected[f"present.{i}.{side}.value"] = layer.values.numpy().copy()
        inputs = {"input_ids": fed, "encoder_attention_mask": mask, "encoder_hidden_states": states}
        steps.append(Step(f"{name}, {part}", arrays(inputs), expected, torch.ones_like(fed).bool().numpy()))
        start = end
    return steps
