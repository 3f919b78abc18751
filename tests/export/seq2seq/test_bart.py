"""Graphs of BART and Marian against torch: positions, norms, tied heads, biases of logits."""

from __future__ import annotations

import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration, MarianConfig, MarianMTModel

from tests.support.seq2seq import differences

SIZES = {
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48,
    "encoder_layers": 2, "decoder_layers": 2, "d_model": 32, "max_position_embeddings": 64, "init_std": 0.3,
    "decoder_start_token_id": 1, "forced_eos_token_id": None, "vocab_size": 320, "pad_token_id": 2,
}  # fmt: skip
MODELS = {
    "BART": (BartForConditionalGeneration, BartConfig, {"scale_embedding": True}),
    "Marian": (MarianMTModel, MarianConfig, {"activation_function": "swish", "scale_embedding": True}),
    "Marian, unscaled": (MarianMTModel, MarianConfig, {"activation_function": "relu", "scale_embedding": False}),
}


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("model", MODELS)
def test_both_graphs_say_what_torch_says(model, fused):
    cls, config, options = MODELS[model]
    torch.manual_seed(0)
    module = cls(config(**SIZES, **options))
    with torch.no_grad():
        module.final_logits_bias += torch.randn(module.final_logits_bias.shape)
        for name, parameter in module.named_parameters():
            if name.endswith("bias"):
                parameter += 0.1 * torch.randn(parameter.shape)
    encoder, decoder = differences(module, fused)
    assert encoder < 1e-4
    assert decoder < 1e-3
