"""Graphs that torch traced: what they are made of, and when they are taken. Their numbers are the parity gate's."""

from collections import Counter

import onnx_ir as ir
import pytest

from compress.checkpoint.model import Model
from compress.export.targets.base import find_target
from compress.export.traced import trace as traced
from compress.passes.fuse import Fuse
from compress.progress import Silent
from tests.support.sentences import pooling, save_sentence_encoder

pytestmark = pytest.mark.slow
LAYERS = 3


@pytest.fixture(scope="module")
def deep(tiny):
    return Model.open(str(tiny("LlamaForCausalLM", tie_word_embeddings=True, num_hidden_layers=LAYERS)))


def operators(model):
    return Counter(node.op_type for node in model.graph)


def test_a_layer_is_traced_once_and_repeated_with_its_own_weights(deep, monkeypatch):
    traced._trace.cache_clear()
    parts = []
    trace = traced.trace_module
    monkeypatch.setattr(traced, "trace_module", lambda *call: parts.append(call[-1]) or trace(*call))
    model = traced.trace_graph(deep.architecture, deep.names, fused=False).model
    assert parts == ["a LlamaForCausalLM", "a layer of a LlamaForCausalLM"]
    weights = [name for name, value in model.graph.initializers.items() if value.const_value is None]
    assert sorted(weights) == sorted(deep.names)
    actual = operators(model)
    assert actual["Attention"] == LAYERS
    assert actual["RMSNormalization"] == 2 * LAYERS + 1
    assert actual["RotaryEmbedding"] == 2 * LAYERS
    assert actual["MatMul"] == 7 * LAYERS + 1
    assert [value.name for value in model.graph.outputs][:3] == ["logits", "present.0.key", "present.0.value"]
    assert str(model.graph.inputs[3].shape) == "[batch,2,past_sequence_len,16]"
    traced.trace_graph(deep.architecture, deep.names, fused=True)
    assert len(parts) == 2  # kept for the next export


def test_fused_it_has_the_operators_of_a_built_one(deep):
    model = traced.trace_graph(deep.architecture, deep.names, fused=True).model
    Fuse().rewrite(model)
    actual = operators(model)
    assert actual["GroupQueryAttention"] == LAYERS
    assert actual["MatMul"] == 4 * LAYERS + 1  # q/k/v, o, gate/up, down; and the head
    assert not actual["RotaryEmbedding"]
    assert actual["SkipSimplifiedLayerNormalization"] == 2 * LAYERS
    assert actual["QuickGelu"] == LAYERS


@pytest.mark.parametrize("fused", [True, False])
def test_dynamic_rotations_are_traced_by_what_each_call_needs(tiny, tmp_path, fused):
    """transformers branches on the longest text so far, which torch can't trace; the gate crosses that length."""
    dynamic = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.5}
    model = Model.open(str(tiny("LlamaForCausalLM", rope_parameters=dynamic)))
    target = find_target("ort-cpu").with_graph("traced")
    target.export(model, [Fuse()] if fused else [], tmp_path, Silent())
    assert ("GroupQueryAttention" in operators(ir.load(tmp_path / "model.onnx"))) == fused


def test_windows_of_a_decoder_that_embeds(tiny, tmp_path):
    """As EmbeddingGemma's; the gate's texts are longer than a window."""
    windows = {"sliding_window": 4, "layer_types": ["sliding_attention"], "num_hidden_layers": 1, "head_dim": 16}
    decoder = tiny("Gemma3TextModel", use_bidirectional_attention=True, num_key_value_heads=2, **windows)
    model = Model.open(save_sentence_encoder(tmp_path / "model", decoder, [pooling("mean")]))
    (tmp_path / "onnx").mkdir()
    find_target("ort-cpu").export(model, [], tmp_path / "onnx", Silent())
    graph = ir.load(tmp_path / "onnx" / "model.onnx").graph
    assert [value.name for value in graph.outputs] == ["last_hidden_state", "sentence_embedding"]
    assert [value.name for value in graph.inputs] == ["input_ids", "attention_mask"]
