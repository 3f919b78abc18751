"""Graphs of encoder-decoders: what there is one of, and the names of inputs and outputs."""

from __future__ import annotations

import pytest
from transformers import BartConfig, MarianConfig, PegasusConfig, T5Config

from compress.checkpoint.model import Model
from compress.export.seq2seq.graphs import build_graphs, unsupported_reason
from compress.onnx_names import DECODER, ENCODER

SIZES = {
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
    "encoder_layers": 1, "decoder_layers": 2, "d_model": 32, "max_position_embeddings": 64,
    "decoder_start_token_id": 1, "forced_eos_token_id": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (T5Config(), None),
        (BartConfig(activation_function="gelu"), None),
        (MarianConfig(activation_function="swish"), None),
        (PegasusConfig(), "pegasus models"),
        (MarianConfig(activation_function="tanh"), "marian models with activation_function=tanh"),
        (T5Config(feed_forward_proj="quick_gelu"), "t5 models with dense_act_fn=quick_gelu"),
    ],
)
def test_families_and_activations_without_a_graph_are_named(config, reason):
    assert unsupported_reason(config) == reason


@pytest.mark.parametrize("fused", [True, False])
def test_weights_and_ports_have_their_names(random_model, fused):
    model = Model.open(str(random_model("MarianMTModel", **SIZES)))
    graphs = build_graphs(model.config, {name: model.shape(name) for name in model.names}, fused)
    assert list(graphs) == [ENCODER, DECODER]
    encoder, decoder = (graphs[file].graph for file in graphs)
    assert [value.name for value in encoder.inputs] == ["input_ids", "attention_mask"]
    assert [value.name for value in encoder.outputs] == ["last_hidden_state"]
    caches = [f"{i}.{side}.{part}" for i in (0, 1) for side in ("decoder", "encoder") for part in ("key", "value")]
    assert [value.name for value in decoder.inputs] == [
        "input_ids", "encoder_attention_mask", "encoder_hidden_states", *(f"past_key_values.{name}" for name in caches)
    ]  # fmt: skip
    assert sorted(value.name for value in decoder.outputs) == sorted(
        ["logits", *(f"present.{name}" for name in caches)]
    )
    weights = {name for graph in (encoder, decoder) for name, v in graph.initializers.items() if v.const_value is None}
    assert sorted(weights) == sorted(model.names)
    skips = {node.op_type for node in encoder if node.domain == "com.microsoft"}
    assert skips == ({"SkipLayerNormalization"} if fused else set())
