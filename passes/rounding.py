"""Rounding to the nearest grid point: the simplest solver, and what the others are measured against."""

from __future__ import annotations

import torch
from torch import Tensor

from compress.weight import Act, Quantized


def round_to_nearest(weight: Tensor, group: int, levels: int = 127, bits: int = 8, act: Act | None = None) -> Quantized:
    """Symmetric rounding of ``weight`` ``[out, in]``: the largest of every ``group`` inputs maps to ``levels``.

    ``levels`` may lie below 2^(bits-1) - 1 where a kernel needs head room. Scales have the weight's dtype, and the
    codes are computed against the scales as stored. A group of zeros gets scale 1.
    """
    grouped = weight.float().unflatten(1, (-1, group))
    scale = (grouped.abs().amax(-1) / levels).to(weight.dtype)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    codes = (grouped / scale.float().unsqueeze(-1)).round_().clamp_(-levels, levels)
    return Quantized(codes.flatten(1).to(torch.int8), scale, bits, group, act=act)
