"""Weights as lowering reads them: from a checkpoint, dequantized, or as rows of several tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from compress.weights.forms import Dense, Factored, Masked, Pivoted, Quantized, Residual, Weight


class Weights(Protocol):
    """Source of the tensors that lowering reads, by the checkpoint's names."""

    def tensor(self, name: str) -> Tensor:
        """Read a tensor that isn't a matrix."""

    def weight(self, name: str) -> Weight:
        """Read a matrix in its form."""


class SlicedWeights(Weights):
    """A checkpoint's tensors and rows of them, by a graph's names: ``origin`` says which is which.

    ``checkpoint`` gives tensors and matrices by its own names; other names of a graph are those.
    """

    def __init__(self, checkpoint: Weights, origin: Mapping[str, Rows]) -> None:
        self.checkpoint = checkpoint
        self.origin = origin
        self._last: tuple[str, Weight] | None = None

    def tensor(self, name: str) -> Tensor:
        """Read a tensor that isn't a matrix."""
        rows = self.origin.get(name, Rows(name))
        return rows.of(self.checkpoint.tensor(rows.tensor))

    def weight(self, name: str) -> Weight:
        """Read a matrix; the one that pieces are taken of is kept until another is read."""
        rows = self.origin.get(name, Rows(name))
        if rows.indices is None:
            return self.checkpoint.weight(rows.tensor)
        if self._last is None or self._last[0] != rows.tensor:
            self._last = rows.tensor, self.checkpoint.weight(rows.tensor)
        return take_rows(self._last[1], rows)


@dataclass(frozen=True)
class Rows:
    """Rows of ``tensor``, by their numbers (int64); all of them, in order, where these are None."""

    tensor: str
    indices: Tensor | None = None

    def of(self, tensor: Tensor) -> Tensor:
        """Select these rows of a tensor."""
        return tensor if self.indices is None else tensor[self.indices]


def take_rows(weight: Weight, rows: Rows) -> Weight:
    """Select rows of a matrix, in its form; a product's are those of its left factor, and its pivots stay."""
    match weight:
        case Pivoted():
            return _pivoted(weight, rows)
        case Factored(left=left):
            return replace(weight, left=_leaf(left, rows))
        case Residual(base=base, correction=correction):
            left = _leaf(correction.left, rows)
            return replace(weight, base=_integers(base, rows), correction=replace(correction, left=left))
    return _leaf(weight, rows)


def _pivoted(weight: Pivoted, rows: Rows) -> Weight:
    """Rows of a pivoted product: the left factor's that are needed; pivots alone are rows of the right factor."""
    order, pivots = rows.of(weight.order).long(), weight.right.shape[0]
    computed = order >= pivots
    if not bool(computed.any()):
        return _leaf(weight.right, replace(rows, indices=order))
    used, order[computed] = order[computed].unique(return_inverse=True)
    order[computed] += pivots
    left = _leaf(weight.left, replace(rows, indices=used - pivots))
    return replace(weight, left=left, order=order.to(torch.int32))


def _leaf(weight: Dense | Quantized, rows: Rows) -> Dense | Quantized:
    if isinstance(weight, Quantized):
        return _integers(weight, rows)
    if isinstance(weight, Masked):
        return Masked(rows.of(weight.tensor), rows.of(weight.mask))
    return Dense(rows.of(weight.tensor))


def _integers(weight: Quantized, rows: Rows) -> Quantized:
    zero, mask = weight.zero_point, weight.mask
    return replace(
        weight,
        codes=rows.of(weight.codes),
        scale=rows.of(weight.scale),
        zero_point=None if zero is None else rows.of(zero),
        mask=None if mask is None else rows.of(mask),
    )
