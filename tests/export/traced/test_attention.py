"""Attention as it is traced: caches of which only the length is known, and masks that are always there."""

from __future__ import annotations

import pytest
import torch

from compress.checkpoint.model import Model
from compress.export.traced.attention import ProbeCache, ProbeDone, TracedCache, _mask, traced_attention
from tests.support.tensors import gaussian, token_ids


def test_a_cache_knows_its_length_and_hands_new_keys_on_alone():
    cache = TracedCache(5)
    assert (cache.get_seq_length(), cache.get_query_offset(), cache.get_mask_sizes(3, 0)) == (5, 5, (8, 0))
    keys, values = gaussian(1, 2, 3, 4), gaussian(1, 2, 3, 4, seed=1)
    assert cache.update(keys, values, 0) == (keys, values)


def test_a_probe_ends_the_run_with_the_first_layers_keys(llama):
    module, cache = Model.open(str(llama)).torch_module(), ProbeCache(0)
    layers = []
    for layer in module.model.layers:
        layer.register_forward_hook(lambda *call: layers.append(call[0]))
    with pytest.raises(ProbeDone), torch.inference_mode():
        module(token_ids(1, 6), past_key_values=cache, use_cache=True)
    keys, values = cache.probed
    assert keys.shape == values.shape == (1, 2, 6, 16)
    assert layers == []  # none came to its end


def mask(attention_mask, **options):
    positions = {"batch_size": 2, "q_length": 4, "kv_length": 4, "attention_mask": attention_mask}
    return _mask(**positions, **options)


def test_a_mask_is_a_tensor_also_where_nothing_is_padded():
    actual = mask(torch.ones(2, 4, dtype=torch.bool))
    assert (actual.shape, actual.dtype) == ((2, 1, 4, 4), torch.bool)
    assert torch.equal(actual[0, 0], torch.ones(4, 4).tril().bool())


def test_only_where_nothing_can_be_padded_there_is_none():
    assert mask(None, allow_is_bidirectional_skip=True) is None
    assert mask(torch.ones(2, 4, dtype=torch.bool), allow_is_bidirectional_skip=True) is not None


def test_the_models_own_attention_comes_back(llama):
    module = Model.open(str(llama)).torch_module()
    ids = token_ids(1, 6)
    with torch.inference_mode():
        before = module(ids).logits
        with traced_attention(module, TracedCache(0)):
            pass
        assert torch.equal(module(ids).logits, before)
