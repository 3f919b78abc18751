"""References of an encoder-decoder: the outputs of both its graphs, step by step."""

from __future__ import annotations

import numpy as np
import torch

from compress.checkpoint.model import Model
from compress.export.parity.seq2seq_reference import reference_traces
from compress.modeling.seq2seq import decoder_inputs
from compress.onnx_names import DECODER, ENCODER
from tests.support.tensors import token_ids

IDS = token_ids(1, 9)[0]
SIZES = {
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
    "encoder_layers": 1, "decoder_layers": 2, "d_model": 32, "max_position_embeddings": 64,
    "decoder_start_token_id": 1, "forced_eos_token_id": None,
}  # fmt: skip


def test_steps_and_outputs_of_encoder_and_decoder(random_model):
    module = Model.open(str(random_model("MarianMTModel", **SIZES))).torch_module()
    traces = reference_traces(module, IDS)
    assert set(traces) == {ENCODER, DECODER}
    (encoder,), (padded,), (long,) = traces[ENCODER]
    assert long.inputs["input_ids"].shape == (1, 64)
    assert long.inputs["input_ids"][0, -1] == module.config.vocab_size - 1
    with torch.inference_mode():
        states = module.get_encoder()(IDS[None])[0].numpy()
        written = decoder_inputs(module.config, IDS[None])
        logits = module(IDS[None], decoder_input_ids=written).logits.numpy()
    assert np.array_equal(encoder.expected["last_hidden_state"], states)
    assert padded.compared.sum(1).tolist() == [9, 6, 3]
    first, second = traces[DECODER][0]
    assert [step.inputs["input_ids"].shape for step in (first, second)] == [(1, written.shape[1] - 1), (1, 1)]
    assert np.array_equal(np.concatenate([step.expected["logits"] for step in (first, second)], 1), logits)
    assert np.array_equal(first.inputs["encoder_hidden_states"], states)
    shapes = {name: array.shape for name, array in second.expected.items() if name.startswith("present.1")}
    assert shapes == {
        f"present.1.{side}.{part}": (1, 2, length, 16)
        for side, length in (("decoder", written.shape[1]), ("encoder", 9))
        for part in ("key", "value")
    }
    assert set(traces[DECODER][1][1].expected) == {"logits"}
