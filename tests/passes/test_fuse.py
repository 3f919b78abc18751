"""What `fuse` leaves of a graph. That it leaves the function alone is the parity gate's business (tests/export)."""

from collections import Counter

import onnx_ir as ir
import pytest

from compress.checkpoint.model import Model
from compress.errors import UsageError
from compress.export.built.build import build
from compress.export.targets.ort_cpu import OrtCpu
from compress.passes.fuse import Fuse

LAYERS = 2


def counts(path):
    model = Model.open(str(path))
    graph = build(model.config, model.names, fused=True).model
    changed = Fuse().rewrite(graph)
    return changed, Counter(node.op_type for node in graph.graph)


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "Qwen2ForCausalLM", "MistralForCausalLM"])
def test_a_decoder_layer_is_four_products_and_one_attention(tiny, name):
    changed, found = counts(tiny(name))
    assert found["GroupQueryAttention"] == LAYERS
    assert found["MatMul"] == 4 * LAYERS + 1  # q/k/v, o, gate/up, down; and the head
    assert found["SkipSimplifiedLayerNormalization"] == 2 * LAYERS
    assert found["QuickGelu"] == LAYERS
    assert not found["Sigmoid"]
    assert not found["RotaryEmbedding"]
    assert changed >= 2 * LAYERS


def test_norms_of_queries_and_keys_do_not_stand_in_the_way_of_packing(tiny):
    _, found = counts(tiny("Qwen3ForCausalLM"))
    assert found["GroupQueryAttention"] == LAYERS
    assert found["MatMul"] == 4 * LAYERS + 1


@pytest.mark.parametrize("name", ["BertModel", "RobertaModel", "DistilBertModel"])
def test_an_encoder_layer_keeps_no_lone_bias_behind_its_mlp(tiny, name):
    _, found = counts(tiny(name))
    assert found["BiasGelu"] == LAYERS
    assert not found["Gelu"]
    assert found["SkipLayerNormalization"] >= 2 * LAYERS
    assert found["Attention"] == LAYERS


def test_rewriting_twice_changes_nothing_more(llama):
    model = Model.open(str(llama))
    graph = build(model.config, model.names, fused=True).model
    assert Fuse().rewrite(graph) > 0
    before = len(list(graph.graph))
    assert Fuse().rewrite(graph) == 0
    assert len(list(graph.graph)) == before


def test_an_int8_cache_is_int8_on_both_sides_with_a_scale_a_channel(llama):
    model = Model.open(str(llama))
    graph = build(model.config, model.names, fused=True).model
    assert Fuse(kv="int8").rewrite(graph) == Fuse().rewrite(build(model.config, model.names, fused=True).model) + LAYERS
    past = [value for value in graph.graph.inputs if value.name.startswith("past_key_values")]
    present = [value for value in graph.graph.outputs if value.name.startswith("present")]
    assert {value.dtype for value in [*past, *present]} == {ir.DataType.INT8}
    scales = [graph.graph.initializers[f"{value.name}.scale"] for value in past]
    assert [tuple(scale.shape) for scale in scales] == [(1, 2, 1, 16)] * 2 * LAYERS
    assert Fuse(kv="int8").rewrite(graph) == 0


def test_an_encoder_has_no_cache_to_round(bert):
    with pytest.raises(UsageError, match="fuse: an encoder keeps no keys and values; leave out kv=int8"):
        Fuse(kv="int8").resolve(Model.open(str(bert)), OrtCpu.capability)
