"""Text that needs no file: written by the model itself, and words of its vocabulary."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from compress.calibration.text import self_written, vocabulary_text
from tests.support.words import word_tokenizer


@pytest.fixture(scope="module")
def writer() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=63,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    return LlamaForCausalLM(config).eval()


def test_a_model_writes_the_same_text_for_the_same_seed(writer: LlamaForCausalLM) -> None:
    first = self_written(writer, word_tokenizer(bos_token="[CLS]"), count=70, length=12, seed=5)
    assert first.shape == (70, 12)
    assert first.dtype == torch.int64
    assert first[:, 0].unique().tolist() == [1]
    assert first[:, 1].min() >= 3
    assert torch.equal(first, self_written(writer, word_tokenizer(bos_token="[CLS]"), count=70, length=12, seed=5))
    assert not torch.equal(first, self_written(writer, word_tokenizer(bos_token="[CLS]"), count=70, length=12, seed=6))


def test_a_model_begins_as_its_tokenizer_begins_a_text(writer: LlamaForCausalLM) -> None:
    begins = word_tokenizer("[SEP] [CLS] $A", bos_token="[CLS]")
    assert self_written(writer, begins, count=5, length=6, seed=5)[:, :2].tolist() == [[2, 1]] * 5


def test_a_model_without_a_beginning_token_starts_with_a_word(writer: LlamaForCausalLM) -> None:
    starts = self_written(writer, word_tokenizer(), count=40, length=3, seed=0)[:, 0]
    assert starts.min() >= 3
    assert len(starts.unique()) > 10


def test_what_is_written_follows_the_model(writer: LlamaForCausalLM) -> None:
    """With a sharpened head sampling is greedy, so the cached steps must equal the uncached forward pass."""
    with torch.no_grad():
        writer.lm_head.weight.mul_(1000)
    got = self_written(writer, word_tokenizer(bos_token="[CLS]"), count=3, length=8, seed=1)
    with torch.no_grad():
        expected = writer(got).logits.argmax(-1)
        writer.lm_head.weight.div_(1000)
    assert torch.equal(got[:, 2:], expected[:, 1:-1])


def test_vocabulary_text_is_words_and_seeded() -> None:
    got = vocabulary_text(word_tokenizer("[CLS] $A [SEP]"), count=3, length=10, seed=0)
    assert got.shape == (3, 10)
    assert got[:, 0].tolist() == [1, 1, 1]
    assert got[:, -1].tolist() == [2, 2, 2]
    assert got[:, 1:-1].min() >= 3
    assert torch.equal(got, vocabulary_text(word_tokenizer("[CLS] $A [SEP]"), count=3, length=10, seed=0))
