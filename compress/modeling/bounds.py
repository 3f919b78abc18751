"""Bounds of a config: what transformers would take minutes and gigabytes to build, or computes NaN with, is refused."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

from compress.errors import ModelError

_LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers", "decoder_layers",
           "num_encoder_layers", "num_decoder_layers", "encoder_num_layers", "decoder_num_layers", "depth",
           "num_hidden_groups", "inner_group_num")  # fmt: skip
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
_LABELS = ("num_labels", "id2label", "label2id")
_POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
_DISTANCES = ("relative_attention_max_distance", "max_relative_positions", "position_buckets")
_MOST = {
    **dict.fromkeys(_LAYERS, 2_000),
    **dict.fromkeys(_EXPERTS, 10_000),
    **dict.fromkeys((*_LABELS, *_DISTANCES), 100_000),
    **dict.fromkeys(_POSITIONS, 20_000_000),
}
"""The most of each; the largest models that are known have some 200 layers, 500 experts, 22,000 labels and ten million
positions."""
_POSITIVE = ("rope_theta", "rotary_emb_base", "attn_logit_softcapping", "final_logit_softcapping",
             "query_pre_attn_scalar", "num_experts_per_tok", "factor", "softmax_scale")  # fmt: skip
"""Settings that a model divides by, or takes roots of: with others transformers computes NaN, or nothing."""
_EPSILON = re.compile(r"^(rms_norm|layer_norm|layernorm|norm)_(eps|epsilon)$")
_MOST_EXPERTS = 100_000
"""Experts of all layers together."""


def check_bounds(file: Path, raw: object) -> None:
    """Raise ModelError for numbers of layers, experts, labels or positions beyond all models, and those that make NaN.

    Wherever a ``config.json`` has them; ``raw`` is its content.
    """
    if not isinstance(raw, dict):
        return
    for key, value in raw.items():
        count = len(value) if isinstance(value, dict | list) and key in _LABELS else value
        most = _MOST.get(key)
        if most is not None and isinstance(count, int | float) and count > most:
            raise ModelError(f"{file}: {key} is {_digits(count)}, and no model of more than {most:,} can be read")
        if isinstance(value, int | float) and not _computes_with(key, value):
            raise ModelError(f"{file}: {key} is {_digits(value)}, which no model computes with")
        check_bounds(file, value)
    layers, experts = (_largest(raw, keys) for keys in (_LAYERS, _EXPERTS))
    if layers * experts > _MOST_EXPERTS:
        raise ModelError(f"{file}: {layers:,} layers of {experts:,} experts are more than can be read")


def _computes_with(key: str, value: float) -> bool:
    """Whether a setting's number is one that a model computes with; NaN isn't."""
    if _EPSILON.search(key):
        return 0 <= value < math.inf
    return key not in _POSITIVE or 0 < value < math.inf


def _digits(number: float) -> str:
    """A number as a message shows it, also one beyond floats."""
    return f"{min(max(number, -sys.float_info.max), sys.float_info.max):,.12g}"


def _largest(raw: dict[str, object], keys: tuple[str, ...]) -> int:
    return max((value for key in keys if isinstance(value := raw.get(key), int)), default=0)
