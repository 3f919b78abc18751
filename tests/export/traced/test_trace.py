"""Graphs that torch traced: what they are made of, and when they are taken. Their numbers are the parity gate's."""

from collections import Counter

import pytest

from compress.checkpoint.model import Model
from compress.errors import ExportError, UsageError
from compress.export.targets.base import find_target
from compress.export.traced import trace as traced
from compress.passes.fuse import Fuse
from compress.progress import Silent

LAYERS = 3
WRONG = {
    "hidden_size": 128, "num_hidden_layers": 2, "initializer_range": 0.1, "intermediate_size": 192, "head_dim": 64,
    "max_position_embeddings": 128, "num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": 16,
    "layer_types": ["sliding_attention", "full_attention"],
}  # fmt: skip
"""A model of the table of families, which mobius builds another graph of."""


@pytest.fixture(scope="module")
def deep(tiny):
    return Model.open(str(tiny("LlamaForCausalLM", tie_word_embeddings=True, num_hidden_layers=LAYERS)))


def operators(model):
    return Counter(node.op_type for node in model.graph)


@pytest.mark.slow
def test_a_layer_is_traced_once_and_repeated_with_its_own_weights(deep, monkeypatch):
    parts = []
    trace = traced.trace_module
    monkeypatch.setattr(traced, "trace_module", lambda *call: parts.append(call[-1]) or trace(*call))
    model = traced.trace_graph(deep.architecture, deep.names, fused=False).model
    assert parts == ["a LlamaForCausalLM", "a layer of a LlamaForCausalLM"]
    weights = [name for name, value in model.graph.initializers.items() if value.const_value is None]
    assert sorted(weights) == sorted(deep.names)
    found = operators(model)
    assert found["Attention"] == LAYERS
    assert found["RMSNormalization"] == 2 * LAYERS + 1
    assert found["RotaryEmbedding"] == 2 * LAYERS
    assert found["MatMul"] == 7 * LAYERS + 1
    assert [value.name for value in model.graph.outputs][:3] == ["logits", "present.0.key", "present.0.value"]
    assert str(model.graph.inputs[3].shape) == "[batch,2,past_sequence_len,16]"
    traced.trace_graph(deep.architecture, deep.names, fused=True)
    assert len(parts) == 2  # kept for the next export


def test_fused_it_has_the_operators_of_a_built_one(deep):
    model = traced.trace_graph(deep.architecture, deep.names, fused=True).model
    Fuse().rewrite(model)
    found = operators(model)
    assert found["GroupQueryAttention"] == LAYERS
    assert found["MatMul"] == 4 * LAYERS + 1  # q/k/v, o, gate/up, down; and the head
    assert not found["RotaryEmbedding"]
    assert found["SkipSimplifiedLayerNormalization"] == 2 * LAYERS
    assert found["QuickGelu"] == LAYERS


def test_what_is_asked_for_is_taken_and_passes_the_gate(deep, tmp_path):
    find_target("ort-cpu").with_graph("traced").export(deep, [Fuse()], tmp_path, told := Silent())
    assert told.notices == []
    assert (tmp_path / "genai_config.json").is_file()


@pytest.mark.slow
def test_a_built_graph_that_differs_is_traced_instead_and_that_is_said(random_model, tmp_path):
    model = Model.open(str(random_model("Cohere2ForCausalLM", **WRONG)))
    target = find_target("ort-cpu")
    target.export(model, (), tmp_path, told := Silent())
    (notice,) = told.notices
    assert notice.startswith("the exported graph differs from torch in logits (one text, without a cache): by ")
    assert notice.endswith(": the model is traced instead")
    with pytest.raises(ExportError, match="differs from torch in logits"):
        target.with_graph("built").export(model, (), tmp_path, told)


def test_experts_are_not_traced(random_model, tmp_path):
    options = {"hidden_size": 64, "num_hidden_layers": 1, "intermediate_size": 64}
    model = Model.open(str(random_model("MixtralForCausalLM", **options)))
    with pytest.raises(ExportError, match="no mixtral model can be traced: which experts .*; leave --graph out"):
        find_target("ort-cpu").with_graph("traced").export(model, (), tmp_path, Silent())


def test_a_target_without_a_graph_has_no_source_of_one():
    with pytest.raises(UsageError, match="--graph is for targets that have one, such as ort-cpu; hf has none"):
        find_target("hf").with_graph("traced")
