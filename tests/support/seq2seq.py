"""Graphs of encoder-decoders beside the torch model that they are declared for."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from transformers import PreTrainedModel

from compress.export.seq2seq.graphs import build_graphs
from compress.modeling.seq2seq import decoder_inputs
from compress.onnx_names import DECODER, ENCODER
from tests.support.graphs import run
from tests.support.tensors import token_ids


def differences(module: PreTrainedModel, fused: bool) -> tuple[float, float]:
    """Largest differences of both graphs' outputs from torch's: the encoder's states and the logits, in one step.

    Of two texts, the second of which is padded; as parts of the largest magnitude where that is over 1.
    """
    module = module.eval()
    config: Any = module.config
    ids, mask = token_ids(2, 9), torch.ones(2, 9, dtype=torch.long)
    mask[1, 6:] = 0
    tensors = dict(module.state_dict())
    graphs = build_graphs(config, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, fused)
    for model in graphs.values():
        for name, value in model.graph.initializers.items():
            if value.const_value is None:
                value.const_value = ir.tensor(tensors[name].detach().numpy())
    with torch.no_grad():
        written = decoder_inputs(config, ids)
        output = module(input_ids=ids, attention_mask=mask, decoder_input_ids=written)
    states, *_ = run(graphs[ENCODER].graph, input_ids=ids.numpy(), attention_mask=mask.numpy())
    decoder = graphs[DECODER].graph
    feed = {"input_ids": written, "encoder_attention_mask": mask, "encoder_hidden_states": torch.from_numpy(states)}
    arrays = {name: tensor.numpy() for name, tensor in feed.items()}
    for value in decoder.inputs:
        if value.name not in arrays:
            heads, size = value.shape[1], value.shape[3]
            arrays[str(value.name)] = np.zeros((2, heads, 0, size), np.float32)
    logits, *_ = run(decoder, **arrays)
    text = mask.bool().numpy()
    pairs = ((states[text], output.encoder_last_hidden_state.numpy()[text]), (logits, output.logits.numpy()))
    encoder, decoder = (float(np.abs(a - b).max() / max(1.0, np.abs(b).max())) for a, b in pairs)
    return encoder, decoder
