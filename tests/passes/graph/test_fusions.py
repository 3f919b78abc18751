"""Operators that `fuse` leaves of a graph.

That it leaves the function alone is the parity gate's business (tests/export).
"""

from collections import Counter

import pytest

from compress.checkpoint.model import Model
from compress.export.built.build import build
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
