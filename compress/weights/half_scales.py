"""Round scales to float16, for formats that store them so, and measure the rounding error."""

from __future__ import annotations

from dataclasses import replace

import torch

from compress.errors import ExportError
from compress.weights.forms import Quantized


def with_half_scales(weight: Quantized, holder: str) -> Quantized:
    """Integers with their scales rounded to the nearest float16.

    A scale that is too small for it becomes 0, which moves a weight by less than 4e-6. One that is too large is an
    ExportError in the name of ``holder``.
    """
    scale = weight.scale.to(torch.float16)
    if not torch.isfinite(scale).all():
        largest = float(weight.scale.abs().max())
        raise ExportError(f"{holder} has float16 scales, and one of {largest:.3g} is too large for that; use ort-cpu")
    return replace(weight, scale=scale)


def scale_rounding_error(exact: Quantized, rounded: Quantized) -> float:
    """The relative rounding error of a matrix's scales: ‖rounded − exact‖ / ‖exact‖."""
    before, after = exact.scale.float(), rounded.scale.float()
    return float((after - before).norm() / before.norm().clamp_min(torch.finfo(torch.float32).tiny))
