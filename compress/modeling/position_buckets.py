"""Buckets of the distance between two tokens, by which T5 and MPNet look up a learned bias, as transformers has them.

Source: T5 (Raffel et al., arXiv 1910.10683).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from compress.modeling.architecture import longest_input
from compress.modeling.transformers_private import t5_position_buckets

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_FARTHEST = 4096
"""Distance that is looked up at most: behind the first thousands all are alike."""


def mpnet_position_buckets(distances: Tensor) -> Tensor:
    """Bucket for each distance in tokens of a key from its query: int64, shaped as ``distances``.

    Of 32, however many a config says: transformers doesn't ask it.
    """
    from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

    buckets: Tensor = MPNetEncoder.relative_position_bucket(distances)
    return buckets


def unbiased_reason(config: PretrainedConfig) -> str | None:
    """Say by which settings some distance has no row in a model's table of biases; None where all have one.

    transformers reads outside of the table as soon as two tokens are so far apart.
    """
    if config.model_type == "deberta-v2" and config.relative_attention and getattr(config, "position_buckets", 0) == 1:
        return "position_buckets=1, which makes no buckets; published models have 256"
    if config.model_type not in ("t5", "mpnet"):
        return None
    count, longest = config.relative_attention_num_buckets, min(longest_input(config), _FARTHEST)
    distances = torch.arange(1 - longest, longest)
    if config.model_type == "mpnet":
        buckets, settings = mpnet_position_buckets(distances)[None], f"relative_attention_num_buckets={count}"
    else:
        far = config.relative_attention_max_distance
        settings = f"relative_attention_num_buckets={count} and relative_attention_max_distance={far}"
        try:
            sides = [t5_position_buckets(distances, count, far, both_sides) for both_sides in (True, False)]
        except (ArithmeticError, ValueError):  # logarithms and quotients that there aren't
            return f"{settings}, which make no buckets; published models have 32 and 128"
        buckets = torch.stack(sides)
    outside = ((buckets < 0) | (buckets >= count)).any(0)
    nearest = int(distances[outside].abs().min()) if outside.any() else None
    if nearest is None:
        return None
    return f"{settings}, by which tokens {nearest} apart have no bias; published models have 32 and 128"
