"""Layers that are alike but for their numbers are one."""

import transformers

from compress.modeling.distinct_layers import keep_distinct
from compress.modeling.transformers_private import on_meta
from tests.support.checkpoints import SIZES


def test_the_first_layer_of_each_kind_is_left_and_each_layer_finds_its_like():
    config = transformers.Gemma2Config(**SIZES | {"num_hidden_layers": 5}, num_key_value_heads=2, head_dim=8)
    with on_meta():
        layers = transformers.Gemma2ForCausalLM(config).model.layers
    sliding, full = layers[0], layers[1]
    assert keep_distinct(layers) == [0, 1, 0, 1, 0]
    assert list(layers) == [sliding, full]
