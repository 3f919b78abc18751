"""Encoder-decoders: shared embeddings, heads of their own, what a decoder reads."""

from pathlib import Path

import pytest
import torch
from transformers import BartConfig, MarianConfig, T5Config, T5ForConditionalGeneration

from compress.errors import ModelError
from compress.modeling.seq2seq import (
    check_shared_embedding,
    declares_untied_head,
    decoder_inputs,
    decoder_start_token,
    lm_head_name,
    read_per_decoded_token,
    untie_head,
)


@pytest.fixture
def t5():
    return T5ForConditionalGeneration(T5Config(vocab_size=96, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4))


def test_embeddings_must_be_shared():
    check_shared_embedding(Path("m"), T5Config())
    with pytest.raises(ModelError, match="m: a marian whose encoder and decoder don't share their embedding"):
        check_shared_embedding(Path("m"), MarianConfig(share_encoder_decoder_embeddings=False))


@pytest.mark.parametrize(
    ("raw", "untied"),
    [({"tie_word_embeddings": False}, True), ({"scale_decoder_outputs": False}, True), ({}, False),
     ({"tie_word_embeddings": True}, False)],
)  # fmt: skip
def test_a_head_of_its_own_is_declared(raw, untied):
    assert declares_untied_head(raw) is untied


def test_a_decoder_reads_one_token_later_behind_its_start():
    tokens = torch.tensor([[5, 6, 7], [8, 9, 10]])
    assert decoder_inputs(T5Config(pad_token_id=0), tokens).tolist() == [[0, 5, 6], [0, 8, 9]]
    assert decoder_start_token(BartConfig(decoder_start_token_id=2)) == 2
    assert decoder_start_token(T5Config(decoder_start_token_id=None, pad_token_id=3)) == 3
    assert decoder_start_token(T5Config(decoder_start_token_id=None, pad_token_id=None, bos_token_id=4)) == 4


def test_an_untied_head_is_another_tensor_of_the_same_shape(t5):
    assert lm_head_name(t5) == "lm_head.weight"
    assert t5.lm_head.weight is t5.shared.weight
    untie_head(t5)
    assert t5.lm_head.weight is not t5.shared.weight
    assert t5.lm_head.weight.shape == t5.shared.weight.shape
    assert "lm_head.weight" not in t5.all_tied_weights_keys


def test_a_token_reads_the_decoder_but_not_what_fills_the_cross_cache(t5):
    names = [f"{stack}.block.0.layer.{i}.{part}.weight" for stack, i, part in (
        ("decoder", 0, "SelfAttention.k"), ("decoder", 1, "EncDecAttention.q"), ("decoder", 1, "EncDecAttention.k"),
        ("encoder", 0, "SelfAttention.k"),
    )]  # fmt: skip
    assert [read_per_decoded_token(t5, name) for name in names] == [True, True, False, False]
    assert read_per_decoded_token(t5, "shared.weight")  # the head, read whole
