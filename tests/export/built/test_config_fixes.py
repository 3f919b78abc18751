"""What of transformers' configs is corrected for mobius, and what is refused."""

from __future__ import annotations

import pytest
import transformers

from compress.checkpoint.model import Model
from compress.export.built.config_fixes import fix_config, mobius_name, unsupported_reason
from compress.export.targets.base import find_target
from compress.progress import Silent
from tests.support.models import add_noise_to_vectors, copy_checkpoint


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
        (transformers.OPTConfig(), {"rms_norm_eps": 1e-5}),
        (transformers.LlamaConfig(attention_bias=True), {"attn_o_bias": True, "mlp_bias": False}),
        (transformers.MistralConfig(), {}),
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
        (transformers.GPT2Config(scale_attn_weights=False), "gpt2 models with scale_attn_weights=False"),
        (
            transformers.Gemma3TextConfig(final_logit_softcapping=30.0),
            "gemma3_text models with final_logit_softcapping=30.0",
        ),
        (transformers.MptConfig(), None),
        (transformers.MptConfig(attn_config={"clip_qkv": 0.5}), "mpt models with attn_config.clip_qkv=0.5"),
    ],
)
def test_settings_that_mobius_takes_for_granted_are_named(config, reason):
    assert unsupported_reason(config) == reason


HEADS = {"hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.2}
WIDE = {**HEADS, "num_key_value_heads": 1, "intermediate_size": 64, "head_dim": 32, "max_position_embeddings": 64}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "norm_topk_prob": True}
SETTINGS = {
    "biases": ("LlamaForCausalLM", {**WIDE, "attention_bias": True, "mlp_bias": True}),
    "biases of GPT-J": ("GPTJForCausalLM", {**HEADS, "n_positions": 64, "rotary_dim": 16}),
    "epsilon of OPT": (
        "OPTForCausalLM",
        {**HEADS, "ffn_dim": 64, "word_embed_proj_dim": 96, "max_position_embeddings": 64},
    ),
    "scale of Gemma 2": ("Gemma2ForCausalLM", WIDE),
    "scale of Gemma 3": ("Gemma3ForCausalLM", WIDE),
    "scale of MPT": (
        "MptForCausalLM",
        {"d_model": 64, "n_heads": 2, "n_layers": 2, "attn_config": {"softmax_scale": 0.3, "alibi_bias_max": 4}},
    ),
    "experts": ("Qwen3MoeForCausalLM", {**WIDE, **EXPERTS, "attention_bias": True}),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_settings_are_built_as_torch_has_them(random_model, tmp_path, setting):
    """With norms and biases that aren't ones and zeros; a graph that differs would be traced, and the user told."""
    name, options = SETTINGS[setting]
    path = copy_checkpoint(random_model(name, **options), tmp_path / "model", add_noise_to_vectors)
    (tmp_path / "graph").mkdir()
    find_target("ort-cpu").export(Model.open(str(path)), [], tmp_path / "graph", progress := Silent())
    assert progress.notices == []
