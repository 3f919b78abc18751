"""Output error of a stored matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def output_error(exact: Tensor, stored: Tensor, gram: Tensor) -> float:
    """‖(W - Ŵ)X‖² / ‖WX‖² of two matrices ``[out, in]``, from E[x xᵀ] of their inputs; 0 where WX is."""
    difference = stored - exact
    total = float(((exact @ gram) * exact).sum())
    return max(float(((difference @ gram) * difference).sum()) / total, 0.0) if total > 0 else 0.0
