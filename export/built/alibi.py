"""Attention with linear biases (ALiBi, Press et al., arXiv 2108.12409): a key counts less the further back it lies."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PretrainedConfig

from compress.modeling.architecture import head_size


def slopes(config: PretrainedConfig) -> Tensor | None:
    """ALiBi's slope of each head, ``[heads]``: what a score loses per position of distance; None without ALiBi.

    From transformers' own functions. Falcon scales its biases as it does its scores.
    """
    heads, two = config.num_attention_heads, torch.ones(1, 2)
    if config.model_type == "mpt":
        from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

        biases: Tensor = build_mpt_alibi_tensor(heads, 2)  # as transformers' MPT, whatever alibi_bias_max says
        return -biases[:, 0, 0]
    if config.model_type == "bloom":
        from transformers.models.bloom.modeling_bloom import build_alibi_tensor

        return build_alibi_tensor(two, heads, torch.float32)[:, 0, 1]
    if config.model_type == "falcon" and config.alibi:
        from transformers.models.falcon.modeling_falcon import build_alibi_tensor

        scaled: Tensor = build_alibi_tensor(two, heads, torch.float32)[:, 0, 1] / head_size(config) ** 0.5
        return scaled
    return None
