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
    changed, actual = counts(tiny(name))
    assert actual["GroupQueryAttention"] == LAYERS
    assert actual["MatMul"] == 4 * LAYERS + 1  # q/k/v, o, gate/up, down; and the head
    assert actual["SkipSimplifiedLayerNormalization"] == 2 * LAYERS
    assert actual["QuickGelu"] == LAYERS
    assert not actual["Sigmoid"]
    assert not actual["RotaryEmbedding"]
    assert changed >= 2 * LAYERS


def test_norms_of_queries_and_keys_do_not_stand_in_the_way_of_packing(tiny):
    _, actual = counts(tiny("Qwen3ForCausalLM"))
    assert actual["GroupQueryAttention"] == LAYERS
    assert actual["MatMul"] == 4 * LAYERS + 1


@pytest.mark.parametrize("name", ["BertModel", "RobertaModel", "DistilBertModel"])
def test_an_encoder_layer_keeps_no_lone_bias_behind_its_mlp(tiny, name):
    _, actual = counts(tiny(name))
    assert actual["BiasGelu"] == LAYERS
    assert not actual["Gelu"]
    assert actual["SkipLayerNormalization"] >= 2 * LAYERS
    assert actual["Attention"] == LAYERS
