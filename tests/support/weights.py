"""Weights rounded naively, so that exports and formats of every form can be tested without a pass."""

from __future__ import annotations

import torch

from compress.weights.forms import Act, Quantized


def rounded(
    tensor: torch.Tensor, group: int | None, bits: int = 8, zero: bool = False, act: Act | None = None
) -> Quantized:
    """``tensor`` ``[out, in]`` rounded to the nearest in groups of that many inputs; no group: one scale a channel."""
    rows, inputs = tensor.shape
    grouped = tensor.float().reshape(rows, -1, group or inputs)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    if act == "dynamic":
        high = 63
    if not zero:
        scale = grouped.abs().amax(-1) / high
        points = torch.zeros_like(scale)
    else:
        least, most = grouped.amin(-1).clamp(max=0), grouped.amax(-1).clamp(min=0)
        scale = (most - least) / (high - low)
        points = (low - least / scale).round().clamp(low, high)
    codes = (grouped / scale[..., None] + points[..., None]).round().clamp(low, high)
    zero_point = points.to(torch.int8) if zero else None
    return Quantized(codes.to(torch.int8).reshape(rows, inputs), scale, bits, group or inputs, zero_point, act)
