"""Mixed-precision helpers: bfloat16 products, per-token rounding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from compress.lazy import torch
from compress.system.machine import machine

if TYPE_CHECKING:
    from torch import Tensor

_STRIP = 192
"""Columns of a symmetric product that are computed together."""


@contextmanager
def fast_products() -> Iterator[None]:
    """Within, layers multiply in bfloat16 where the processor does so natively (AVX512-BF16, AMX, Arm's BF16).

    Sums stay in float32, what a product returns is rounded to bfloat16 again. About twice as fast there; elsewhere
    nothing changes. For forward passes over calibration text; never for solving.
    """
    # Its cache would go on multiplying with what a trained matrix was at first.
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=native_bfloat16(), cache_enabled=False):
        yield


def to_storage_dtype(states: Tensor) -> Tensor:
    """Hidden states as they wait for the next layer: in bfloat16 where products are, in half the memory."""
    return states.bfloat16() if native_bfloat16() else states


def add_second_moment(total: Tensor, x: Tensor) -> None:
    """Add xᵀx of float32 rows ``[tokens, features]`` to ``total``, strip by strip and to the upper triangle alone.

    AMX multiplies float32 operands rounded to bfloat16 so much faster than floats that it takes the whole product.
    """
    if "amx_bf16" in _instructions():
        total += _rounded_product(x)
        return
    for start in range(0, x.shape[1], _STRIP):
        total[start : start + _STRIP, start:].addmm_(x[:, start : start + _STRIP].T, x[:, start:])


def symmetrize(total: Tensor) -> None:
    """Copy a square matrix's upper triangle to the lower one."""
    for start in range(0, len(total), _STRIP):
        strip = total[start : start + _STRIP, start:]
        corner = strip[:, : len(strip)]
        corner.copy_(corner.triu() + corner.triu(1).T)
        total[start + _STRIP :, start : start + _STRIP] = strip[:, len(strip) :].T


def _rounded_product(x: Tensor) -> Tensor:
    settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # torch's stubs don't know it
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    try:
        return x.T @ x
    finally:
        settings.fp32_precision = before


def native_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 natively."""
    return not _instructions().isdisjoint(("avx512_bf16", "amx_bf16", "bf16"))


@cache
def _instructions() -> frozenset[str]:
    return frozenset(machine()["instructions"].split())


def per_token(x: Tensor) -> Tensor:
    """Inputs ``[…, features]`` as a runtime sees them that rounds every token to 8 bits by its own scale."""
    scale = x.abs().amax(-1, keepdim=True).clamp(min=1e-12) / 127
    return (x / scale).round_().mul_(scale)
