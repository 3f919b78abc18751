"""Encoder-decoder variants in transformers."""

import torch

from compress.benchmarks.engines.seq2seq.hf import HfSeq2SeqEngine
from compress.export.targets.hf import Hf
from compress.modeling.kinds import SEQ2SEQ
from compress.weights.forms import Dense
from tests.support.passes import make_variant
from tests.support.tensors import token_ids


def test_logits_are_those_of_the_dequantized_module(random_model, tmp_path, rounded):
    sizes = {"d_model": 64, "d_ff": 96, "d_kv": 16, "num_heads": 4, "num_layers": 1}
    path = random_model("T5ForConditionalGeneration", decoder_start_token_id=2, **sizes)

    def form(name, tensor):
        return rounded(tensor, 32) if "SelfAttention.q" in name else Dense(tensor)

    variant = make_variant(path, form, Hf.capability, tmp_path / "variant")
    ids = token_ids(1, 12)
    with torch.inference_mode():
        start = torch.tensor([[2]])
        decoded = torch.cat([start, ids[:, :-1]], 1)
        expected = variant.torch_module()(input_ids=ids, decoder_input_ids=decoded).logits[0].numpy()
    assert (HfSeq2SeqEngine(variant.path, SEQ2SEQ, 1).logits(ids[0].numpy())[:-1] == expected[1:]).all()
