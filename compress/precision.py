"""How exactly numbers are computed with: rounded inputs, and products where a little noise does no harm."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def fast_products() -> Iterator[None]:
    """Within, processors that multiply bfloat16 natively (AMX, AVX512-BF16) do so with float32 operands, too.

    Sums stay in float32. Three to four times faster there, nothing changes elsewhere. For forward passes over
    calibration text; never for solving.
    """
    settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # torch's stubs don't know it
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    try:
        yield
    finally:
        settings.fp32_precision = before


def per_token(x: Tensor) -> Tensor:
    """Inputs ``[…, features]`` as a runtime sees them that rounds every token to 8 bits by its own scale."""
    scale = x.abs().amax(-1, keepdim=True).clamp(min=1e-12) / 127
    return (x / scale).round_().mul_(scale)
