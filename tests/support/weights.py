"""Weights rounded naively or in any form, so that exports, formats and training can be tested without a pass."""

from __future__ import annotations

from collections.abc import Callable

import torch

from compress.passes.solvers.grid import Grid
from compress.passes.solvers.pivots import pivoted_product
from compress.passes.solvers.rounding import round_to_nearest
from compress.weights.forms import Act, Dense, Factored, Masked, Pivoted, Quantized, Residual, Weight


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


def masked(tensor: torch.Tensor) -> Masked:
    """``tensor`` with about half of its numbers zero, seeded, and the mask of the others."""
    mask = torch.rand(tensor.shape, generator=torch.Generator().manual_seed(0)) > 0.5
    return Masked(tensor * mask, mask)


def quantized(tensor: torch.Tensor, bits: int = 3, symmetric: bool = True) -> Quantized:
    """``tensor`` ``[out, in]`` rounded to the nearest, one scale a channel."""
    return round_to_nearest(tensor, Grid(bits, tensor.shape[1], symmetric), dtype=torch.float32).quantized()


def factored(tensor: torch.Tensor) -> Factored:
    """The product of rank 16 nearest to ``tensor``."""
    left, sizes, right = torch.linalg.svd(tensor, full_matrices=False)
    return Factored(Dense((left * sizes)[:, :16].contiguous()), Dense(right[:16].contiguous()))


def pivoted(tensor: torch.Tensor) -> Pivoted:
    """The product of rank 16 nearest to ``tensor``, with its pivots in the right factor."""
    full = factored(tensor)
    return pivoted_product(full.left.tensor.double(), full.right.tensor.double(), torch.float32)


FORMS: dict[str, Callable[[torch.Tensor], Weight]] = {
    "dense": lambda t: Dense((t * 0.8).half()),
    "masked": masked,
    "symmetric": quantized,
    "asymmetric": lambda t: quantized(t, 2, False),
    "factored": factored,
    "pivoted": pivoted,
    "quantized factors": lambda t: Factored(
        quantized(factored(t).left.dequantize()), quantized(factored(t).right.dequantize())
    ),
    "residual": lambda t: Residual(quantized(t, 2), factored(t - quantized(t, 2).dequantize())),
}
"""A matrix in every form, damaged by it."""
