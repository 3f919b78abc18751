"""Made-up caches: their lengths, what they are filled with, and heads that torch keeps more than once."""

from __future__ import annotations

import torch

from compress.checkpoint.model import Model
from compress.export.parity.long_cache import random_cache, repeated_cache
from tests.support.tensors import token_ids

IDS = token_ids(1, 9)[0]


def test_random_values_are_the_larger_the_more_there_are(llama):
    module = Model.open(str(llama)).torch_module()
    with torch.inference_mode():
        layer = module.base_model(input_ids=IDS[None], use_cache=True).past_key_values.layers[1]
        cache, states = random_cache(module, IDS, 100)
    keys, values = (states[f"past_key_values.1.{part}"] for part in ("key", "value"))
    assert cache.get_seq_length() == 100
    assert torch.equal(cache.layers[1].keys, keys)
    assert keys.shape == values.shape == (1, 2, 100, 16)
    assert 0.9 < keys.std() / layer.keys.std() < 1.1
    assert 9 < values.std() / layer.values.std() < 11


def test_a_head_that_torch_keeps_for_each_query_is_random_once(tiny):
    falcon = tiny("FalconForCausalLM", multi_query=True, new_decoder_architecture=False, parallel_attn=True, alibi=True)
    with torch.inference_mode():
        _, states = random_cache(Model.open(str(falcon)).torch_module(), IDS, 5)
    for tensor in states.values():
        assert torch.equal(tensor, tensor[:, :1].expand_as(tensor))


def test_a_texts_keys_are_repeated_in_their_order(llama):
    module = Model.open(str(llama)).torch_module()
    with torch.inference_mode():
        text = module.base_model(input_ids=IDS[None], use_cache=True).past_key_values.layers[0]
        cache, states = repeated_cache(module, IDS, 20)
    keys = states["past_key_values.0.key"]
    assert cache.get_seq_length() == keys.shape[2] == 20
    assert torch.equal(keys[:, :, :9], text.keys)
    assert torch.equal(keys[:, :, 9:18], text.keys)
    assert torch.equal(states["past_key_values.0.value"][:, :, 18:], text.values[:, :, :2])
