"""What exports are verified on: long enough, of the model's own vocabulary, always the same."""

from __future__ import annotations

import pytest
import torch

from compress.checkpoint.model import Model
from compress.export.parity.sample import parity_inputs, sample_input
from tests.support.models import copy_checkpoint
from tests.support.tensors import token_ids

IDS = token_ids(1, 9)[0]


def test_text_is_that_of_the_tokenizer(llama):
    model = Model.open(str(llama))
    ids = sample_input(model)
    assert ids.shape == (24,)
    assert model.tokenizer().decode(ids).startswith("The museum opened in 18")


def test_text_outgrows_a_short_window_and_fits_the_model(tiny):
    assert len(sample_input(Model.open(str(tiny("MistralForCausalLM", sliding_window=40))))) == 64
    assert len(sample_input(Model.open(str(tiny("MistralForCausalLM", sliding_window=120))))) == 127
    assert len(sample_input(Model.open(str(tiny("MistralForCausalLM", sliding_window=4096))))) == 24


def test_text_outgrows_short_factors_and_near_distances(tiny, random_model):
    factors = {"short_factor": [1.0] * 8, "long_factor": [2.0] * 8}
    longrope = {"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 32, **factors}
    assert len(sample_input(Model.open(str(tiny("LlamaForCausalLM", rope_parameters=longrope))))) == 56
    t5 = random_model("T5ForConditionalGeneration", d_model=32, d_ff=32, d_kv=16, num_heads=2, num_layers=1)
    assert len(sample_input(Model.open(str(t5)))) == 128 + 24


def test_without_a_tokenizer_ids_are_random_and_the_same_each_time(llama, tmp_path):
    bare = copy_checkpoint(llama, tmp_path / "bare")
    for file in bare.glob("tokenizer*"):
        file.unlink()
    model = Model.open(str(bare))
    first, second = sample_input(model), sample_input(model)
    assert torch.equal(first, second)
    assert first.shape == (24,)
    assert 0 <= first.min() < first.max() < model.config.vocab_size


def test_models_that_see_get_images(tiny):
    model = Model.open(str(tiny("ViTForImageClassification", image_size=32, patch_size=16)))
    assert sample_input(model).shape == (3, 3, 32, 32)


@pytest.mark.parametrize("pad_left", [True, False])
def test_texts_are_one_alone_and_three_of_which_two_are_padded(pad_left):
    (_, alone, every), (_, batch, mask) = parity_inputs(IDS, pad_left)
    assert torch.equal(alone, IDS[None])
    assert every.all()
    assert batch.shape == mask.shape == (3, 9)
    assert torch.equal(batch[0], IDS)
    gaps = [0, 3, 6]
    for row, gap in zip(mask, gaps, strict=True):
        padding = row[:gap] if pad_left else row[len(row) - gap :]
        assert not padding.any()
        assert row.sum() == 9 - gap
