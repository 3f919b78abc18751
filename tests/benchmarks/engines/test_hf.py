"""Variants in transformers: what the dequantized module computes."""

import numpy as np
import pytest
import torch

from compress.benchmarks.engines.hf import HfEngine
from compress.export.targets.hf import Hf
from compress.modeling.kinds import DECODER, ENCODER
from compress.weights.forms import Dense
from tests.support.passes import make_variant
from tests.support.tensors import token_ids

TOKENS = token_ids(2, 12)


@pytest.fixture
def variant(tiny, tmp_path, rounded):
    def make(name):
        def form(weight, tensor):
            return rounded(tensor, 32, 3, True) if "_proj" in weight or "layer." in weight else Dense(tensor)

        return make_variant(tiny(name), form, Hf.capability, tmp_path / "variant")

    return make


def test_a_decoders_logits_are_those_of_its_dequantized_module(variant):
    compressed = variant("LlamaForCausalLM")
    engine, ids = HfEngine(compressed.path, DECODER, 1), TOKENS[0].numpy()
    with torch.inference_mode():
        expected = compressed.torch_module()(TOKENS[:1]).logits[0].numpy()
    assert (engine.logits(ids) == expected).all()
    assert engine.start(ids, 0) == int(expected[-1].argmax())


def test_an_encoder_is_run_without_its_head(variant):
    compressed = variant("BertForMaskedLM")
    engine = HfEngine(compressed.path, ENCODER, 1)
    with torch.inference_mode():
        states = compressed.torch_module().base_model(TOKENS).last_hidden_state
    mask = np.ones(TOKENS.shape, np.int64)
    assert engine.embed(TOKENS.numpy(), mask) == pytest.approx(states.mean(1).numpy(), abs=1e-6)
