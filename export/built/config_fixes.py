"""Correct what mobius 0.1.0 reads wrongly of transformers' configs and checkpoints, before it declares a graph.

As with `compress.export.built.graph_fixes`, each is verified by the parity gate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter

from transformers import PretrainedConfig

_DISTILBERT_EPSILON = 1e-12
_OPT_EPSILON = 1e-5


def fix_config(config: PretrainedConfig) -> dict[str, object]:
    """Correct values of the fields that mobius's configuration gets wrong, by their names."""
    correct = _CORRECTIONS.get(config.model_type)
    return correct(config) if correct else {}


def mobius_name(config: PretrainedConfig, name: str) -> str:
    """The name by which mobius looks for a tensor of the checkpoint."""
    for old, new in _RENAMED.get(config.model_type, {}).items():
        name = name.replace(old, new)
    return name


def unsupported_reason(config: PretrainedConfig) -> str | None:
    """Name what mobius has no graph of: a model's type, or a setting that it doesn't read; None where it has one."""
    model_type = config.model_type
    if model_type in _UNKNOWN or config.is_encoder_decoder:
        return f"{model_type} models"
    for setting, assumed in _ASSUMED.get(model_type, {}).items():
        value = attrgetter(setting)(config)
        if value != (assumed(config) if callable(assumed) else assumed):
            return f"{model_type} models with {setting}={value}"
    return None


def _distilbert(config: PretrainedConfig) -> dict[str, object]:
    """DistilBERT's width of the MLP and epsilon of the norms, which mobius doesn't read."""
    return {"intermediate_size": config.hidden_dim, "rms_norm_eps": _DISTILBERT_EPSILON}


def _opt(config: PretrainedConfig) -> dict[str, object]:
    """OPT's epsilon of the norms, torch's own, which no config names."""
    return {"rms_norm_eps": _OPT_EPSILON}


def _cohere(config: PretrainedConfig) -> dict[str, object]:
    """Rotations turn neighboring channels."""
    return {"rope_interleave": True}


def _gptj(config: PretrainedConfig) -> dict[str, object]:
    """Both linears of the MLP have biases."""
    return {"mlp_bias": True}


def _llama(config: PretrainedConfig) -> dict[str, object]:
    """Attention's output has a bias where its inputs have; the MLP's linears where a setting of their own says so."""
    return {"attn_o_bias": config.attention_bias, "mlp_bias": config.mlp_bias}


def _mpnet(config: PretrainedConfig) -> dict[str, object]:
    """There is one kind of token; its embedding, which no checkpoint has, is zero."""
    return {"type_vocab_size": 1}


def _falcon(config: PretrainedConfig) -> dict[str, object]:
    """Heads have groups in the new architecture alone, and two norms there unless the config says one."""
    new = config.new_decoder_architecture
    shared = 1 if config.multi_query else config.num_attention_heads
    return {
        "num_key_value_heads": config.num_kv_heads if new else shared,
        "parallel_attn": new or config.parallel_attn,
        "dual_ln": new and config.num_ln_in_parallel_attn != 1,
    }


_CORRECTIONS: Mapping[str, Callable[[PretrainedConfig], dict[str, object]]] = {
    "distilbert": _distilbert,
    "cohere": _cohere,
    "falcon": _falcon,
    "gptj": _gptj,
    "llama": _llama,
    "mpnet": _mpnet,
    "opt": _opt,
}
_UNKNOWN = ("deberta-v2",)
"""Model types for which mobius declares a graph of another one."""
_ASSUMED: Mapping[str, Mapping[str, object]] = {
    "gpt2": {"scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False, "scale_attn_weights": True},
    "gemma3_text": {"final_logit_softcapping": None},
    "gpt_neox": {"use_parallel_residual": True},
    "opt": {"do_layer_norm_before": True, "word_embed_proj_dim": attrgetter("hidden_size")},
    "bloom": {"apply_residual_connection_post_layernorm": False},
    "qwen3_moe": {"mlp_only_layers": [], "decoder_sparse_step": 1},
    "mpt": {"attn_config.clip_qkv": None, "attn_config.qk_ln": False},
}
"""Settings whose values mobius takes for granted: a value, or the setting of the config that it equals."""
_RENAMED: Mapping[str, Mapping[str, str]] = {
    "falcon": {".input_layernorm.": ".ln_attn.", ".post_attention_layernorm.": ".ln_mlp."},
    "gpt2": {".mlp.c_fc.": ".mlp.up_proj.", ".mlp.c_proj.": ".mlp.down_proj."},
    "mpnet": {
        ".attention.attn.q.": ".attention.self.query.",
        ".attention.attn.k.": ".attention.self.key.",
        ".attention.attn.v.": ".attention.self.value.",
        ".attention.attn.o.": ".attention.output.dense.",
        ".attention.LayerNorm.": ".attention.output.LayerNorm.",
    },
}
