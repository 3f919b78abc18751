"""What of transformers' configs is corrected for mobius, and what is refused."""

from __future__ import annotations

import pytest
import transformers

from compress.export.built.config_fixes import fix_config, mobius_name, unsupported_reason


@pytest.mark.parametrize(
    ("config", "corrected"),
    [
        (transformers.DistilBertConfig(hidden_dim=99), {"intermediate_size": 99, "rms_norm_eps": 1e-12}),
        (transformers.CohereConfig(), {"rope_interleave": True}),
        (transformers.MPNetConfig(), {"type_vocab_size": 1}),
        (
            transformers.FalconConfig(num_attention_heads=8, num_kv_heads=2, new_decoder_architecture=True),
            {"num_key_value_heads": 2, "parallel_attn": True, "dual_ln": True},
        ),
        (
            transformers.FalconConfig(
                num_attention_heads=8, num_kv_heads=2, new_decoder_architecture=True, num_ln_in_parallel_attn=1
            ),
            {"num_key_value_heads": 2, "parallel_attn": True, "dual_ln": False},
        ),
        (
            transformers.FalconConfig(num_attention_heads=8, multi_query=True, parallel_attn=False),
            {"num_key_value_heads": 1, "parallel_attn": False, "dual_ln": False},
        ),
        (
            transformers.FalconConfig(num_attention_heads=8, multi_query=False, parallel_attn=True),
            {"num_key_value_heads": 8, "parallel_attn": True, "dual_ln": False},
        ),
        (transformers.LlamaConfig(), {}),
    ],
)
def test_fields_that_mobius_reads_wrongly_are_corrected(config, corrected):
    assert fix_config(config) == corrected


@pytest.mark.parametrize(
    ("config", "name", "renamed"),
    [
        (transformers.GPT2Config(), "transformer.h.0.mlp.c_proj.weight", "transformer.h.0.mlp.down_proj.weight"),
        (transformers.FalconConfig(), "h.1.input_layernorm.bias", "h.1.ln_attn.bias"),
        (transformers.MPNetConfig(), "layer.0.attention.attn.q.bias", "layer.0.attention.self.query.bias"),
        (transformers.LlamaConfig(), "model.layers.0.mlp.down_proj.weight", "model.layers.0.mlp.down_proj.weight"),
    ],
)
def test_names_are_those_that_mobius_looks_for(config, name, renamed):
    assert mobius_name(config, name) == renamed


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (transformers.DebertaV2Config(), "deberta-v2 models"),
        (transformers.T5Config(), "t5 models"),
        (transformers.GPT2Config(), None),
        (
            transformers.GPT2Config(scale_attn_by_inverse_layer_idx=True),
            "gpt2 models with scale_attn_by_inverse_layer_idx=True",
        ),
        (transformers.OPTConfig(hidden_size=64, word_embed_proj_dim=64), None),
        (transformers.OPTConfig(hidden_size=64, word_embed_proj_dim=32), "opt models with word_embed_proj_dim=32"),
        (transformers.MptConfig(), None),
        (transformers.MptConfig(attn_config={"clip_qkv": 0.5}), "mpt models with attn_config.clip_qkv=0.5"),
    ],
)
def test_settings_that_mobius_takes_for_granted_are_named(config, reason):
    assert unsupported_reason(config) == reason
