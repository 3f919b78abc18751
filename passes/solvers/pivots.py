"""Pivots of a low-rank product: as many outputs as its rank, of which all others are small combinations.

PIFA (Zhao et al., arXiv 2501.19090) takes them by QR with column pivoting, which bounds the coefficients only loosely.
Here they come from LU with row pivoting and are then exchanged one by one as long as that makes their determinant
larger (maxvol: Goreinov et al., "How to find a good submatrix", 2010). By Cramer's rule no coefficient is larger than 1
in the end, so that what rounding does to a pivot isn't magnified in the outputs that are made of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.lazy import torch
from compress.weights.forms import Dense, Pivoted

if TYPE_CHECKING:
    from torch import Tensor

_LARGEST = 1.02
"""Coefficients up to here are let stand: the last exchanges gain next to nothing."""


def pivoted_product(left: Tensor, right: Tensor, dtype: torch.dtype) -> Pivoted:
    """The product ``left @ right`` of ``[out, r]``, of full rank, and ``[r, in]``, in float64, with pivots.

    Both factors are stored in ``dtype``.
    """
    rows, coefficients = pivots(left)
    others = torch.ones(len(left), dtype=torch.bool)
    others[rows] = False
    place = torch.cat([rows, others.nonzero().flatten()])
    order = torch.empty_like(place, dtype=torch.int32)
    order[place] = torch.arange(len(place), dtype=torch.int32)
    stored = Dense((left[rows] @ right).to(dtype).contiguous())
    return Pivoted(Dense(coefficients[others].to(dtype).contiguous()), stored, order)


def pivots(left: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of a matrix ``[out, r]`` of full rank, int64 ``[r]``, and the coefficients of all rows in them ``[out, r]``.

    ``left = coefficients @ left[rows]``; no coefficient is larger than 1.02.
    """
    rank = left.shape[1]
    _, exchanges = torch.linalg.lu_factor(left)
    places = torch.arange(len(left))
    for i, j in enumerate((exchanges - 1).tolist()):
        places[[i, j]] = places[[j, i]]
    rows = places[:rank]
    coefficients = torch.linalg.solve(left[rows], left, left=False)
    while True:
        row, column = divmod(int(coefficients.abs().argmax()), rank)
        largest = coefficients[row, column].item()
        if not abs(largest) > _LARGEST:
            return rows, coefficients
        rows[column] = row
        step = coefficients[row].clone()
        step[column] -= 1
        coefficients.addr_(coefficients[:, column].clone(), step, alpha=-1 / largest)
