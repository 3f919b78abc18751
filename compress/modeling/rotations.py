"""Rotary position embeddings of a config: how wide they turn, whether their angles stay, and who can turn them.

Source of the kinds: transformers' ``modeling_rope_utils``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from compress.modeling.architecture import head_size
from compress.onnx_names import HEAD_MULTIPLE, ROTATED_MULTIPLE

if TYPE_CHECKING:
    from transformers import PretrainedConfig

DYNAMIC, LONG = "dynamic", "longrope"
"""Kinds whose angles change with the length of the text: by a formula, or from short factors to long ones."""
LayerType = str | None
"""The type of layer that a rotation is for, None where one is for all."""


def rotations(config: PretrainedConfig) -> Mapping[LayerType, Mapping[str, Any]]:
    """Settings of each rotation of a model by the layers that it is for; none where positions aren't rotated."""
    settings = getattr(config, "rope_parameters", None) or {}
    if getattr(config, "alibi", False):
        return {}
    by_layer = {name: value for name, value in settings.items() if isinstance(value, Mapping)}
    if by_layer:
        types = set(getattr(config, "layer_types", None) or by_layer)
        return {name: value for name, value in by_layer.items() if name in types}
    return {None: settings} if settings else {}


def rotation_type(settings: Mapping[str, Any]) -> str:
    """The kind of a rotation, as in ``ROPE_INIT_FUNCTIONS``."""
    return str(settings.get("rope_type") or settings.get("type") or "default")


def switches(config: PretrainedConfig) -> Mapping[LayerType, int]:
    """The number of tokens up to which a rotation has its first angles; of those alone that have others from there."""
    lengths: dict[LayerType, int] = {}
    for layer_type, settings in rotations(config).items():
        kind = rotation_type(settings)
        if kind == LONG:
            length = int(settings["original_max_position_embeddings"])
            if length < config.max_position_embeddings:  # else no text is longer
                lengths[layer_type] = length
        elif DYNAMIC in kind:
            lengths[layer_type] = int(config.max_position_embeddings)
    return lengths


def rotary_width(config: PretrainedConfig) -> int:
    """Number of channels of a head that are rotated; 0 where none are."""
    if (width := getattr(config, "rotary_dim", None)) is not None:
        return int(width)
    widths = [int(head_size(config) * value.get("partial_rotary_factor", 1.0)) for value in rotations(config).values()]
    return max(widths, default=0)


def ungrouped_reason(config: PretrainedConfig) -> str | None:
    """Say why onnxruntime's GroupQueryAttention can't take a model's heads; None where it can."""
    size = head_size(config)
    return f"heads of size {size}, which {HEAD_MULTIPLE} doesn't divide" if size % HEAD_MULTIPLE else None


def unrotated_reason(config: PretrainedConfig) -> str | None:
    """Say why GroupQueryAttention can't rotate a model's queries and keys by itself; None where it can, or needn't."""
    size, width = head_size(config), rotary_width(config)
    if width and (size % ROTATED_MULTIPLE or width % ROTATED_MULTIPLE):
        return f"{width} of a head's {size} channels are rotated, and {ROTATED_MULTIPLE} doesn't divide both"
    if switches(config):
        return f"their angles change after {min(switches(config).values())} tokens"
    return None
