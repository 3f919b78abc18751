"""Bounds of a config: what transformers would take minutes and gigabytes to build, if only as shapes, is refused."""

from __future__ import annotations

from pathlib import Path

from compress.errors import ModelError

_LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers", "decoder_layers",
           "num_encoder_layers", "num_decoder_layers", "encoder_num_layers", "decoder_num_layers", "depth",
           "num_hidden_groups", "inner_group_num")  # fmt: skip
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
_LABELS = ("num_labels", "id2label", "label2id")
_MOST = {**dict.fromkeys(_LAYERS, 2_000), **dict.fromkeys(_EXPERTS, 10_000), **dict.fromkeys(_LABELS, 100_000)}
"""The most of each; the largest models that are known have some 200 layers, 500 experts and 22,000 labels."""
_MOST_EXPERTS = 100_000
"""Experts of all layers together."""


def check_bounds(file: Path, raw: object) -> None:
    """Raise ModelError for numbers of layers, experts or labels beyond all models, wherever a ``config.json`` has them.

    ``raw`` is its content.
    """
    if not isinstance(raw, dict):
        return
    for key, value in raw.items():
        count = len(value) if isinstance(value, dict | list) and key in _LABELS else value
        most = _MOST.get(key)
        if most is not None and isinstance(count, int | float) and count > most:
            raise ModelError(f"{file}: {key} is {count:,.12g}, and no model of more than {most:,} can be read")
        check_bounds(file, value)
    layers, experts = (_largest(raw, keys) for keys in (_LAYERS, _EXPERTS))
    if layers * experts > _MOST_EXPERTS:
        raise ModelError(f"{file}: {layers:,} layers of {experts:,} experts are more than can be read")


def _largest(raw: dict[str, object], keys: tuple[str, ...]) -> int:
    return max((value for key in keys if isinstance(value := raw.get(key), int)), default=0)
