"""What the engines of torch share, on caches and logits made by hand."""

import torch
from transformers import DynamicCache

from compress.benchmarks.runtime.torch_decoder import cached_token_bytes, last_logits


def test_a_tokens_bytes_are_keys_and_values_of_all_layers():
    cache = DynamicCache()
    assert cached_token_bytes(None) == cached_token_bytes(cache) == 0
    cache.update(torch.zeros(1, 2, 5, 8), torch.zeros(1, 2, 5, 8), 0)
    assert cached_token_bytes(cache) == 2 * 2 * 8 * 4
    cache.update(torch.zeros(1, 2, 5, 8).half(), torch.zeros(1, 2, 5, 8).half(), 1)
    assert cached_token_bytes(cache) == 2 * 2 * 8 * (4 + 2)


def test_the_last_position_is_taken_in_float32():
    logits = torch.arange(12.0).reshape(2, 2, 3).bfloat16()
    assert last_logits(logits).dtype == "float32"
    assert last_logits(logits).tolist() == [[3, 4, 5], [9, 10, 11]]
