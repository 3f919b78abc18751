"""Graphs of T5 against torch: gated or not, with a head of its own or not, further than its buckets reach."""

from __future__ import annotations

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from tests.support.seq2seq import differences

SIZES = {
    "d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 2, "vocab_size": 320,
    "decoder_start_token_id": 1, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 6,
    "initializer_factor": 3.0,
}  # fmt: skip
MODELS = {
    "plain": {"feed_forward_proj": "relu"},
    "gated, own head": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
}


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("model", MODELS)
def test_both_graphs_say_what_torch_says(model, fused):
    torch.manual_seed(0)
    encoder, decoder = differences(T5ForConditionalGeneration(T5Config(**SIZES, **MODELS[model])), fused)
    assert encoder < 1e-3
    assert decoder < 1e-3
