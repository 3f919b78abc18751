"""Output error of a stored matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


_ROWS = 8192
"""Outputs that are looked at together: of a head there are hundreds of thousands."""


def output_error(exact: Tensor, stored: Tensor, gram: Tensor) -> float:
    """‖(W - Ŵ)X‖² / ‖WX‖² of two matrices ``[out, in]``, from E[x xᵀ] of their inputs; 0 where WX is."""
    lost, total = 0.0, 0.0
    for rows, stored_rows in zip(exact.split(_ROWS), stored.split(_ROWS), strict=True):
        lost += _output_size(stored_rows - rows, gram)
        total += _output_size(rows, gram)
    return max(lost / total, 0.0) if total > 0 else 0.0


def _output_size(matrix: Tensor, gram: Tensor) -> float:
    """‖MX‖² of a matrix ``[out, in]``, over the number of inputs."""
    return float(((matrix @ gram) * matrix).sum())
