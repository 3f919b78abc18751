"""Whitened SVD: the product of a given rank that loses least of a linear's *outputs*.

SVD-LLM (Wang et al., arXiv 2403.07378), with the symmetric root of the Gram in place of its Cholesky factor: of
H = E[x xᵀ] = QΛQᵀ take S = QΛ^½; then ‖(W - Ŵ)X‖² = ‖(W - Ŵ)S‖², which the leading singular values of WS make least.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from compress.calibration.statistics import Statistic
from compress.lazy import torch
from compress.passes.solvers.pivots import pivoted_product
from compress.weights.forms import Dense, Factored

if TYPE_CHECKING:
    from torch import Tensor

    from compress.calibration.statistics import LinearInput

_FLOOR = 1e-6
"""Smallest eigenvalue of the Gram, as a share of the largest: what is smaller is noise, and S has to be inverted."""


@dataclass(frozen=True)
class Spectrum:
    """``W S = left diag(sigma) right S`` with orthonormal ``left`` ``[out, n]``; ``right`` ``[n, in]``. In float64."""

    left: Tensor
    sigma: Tensor
    right: Tensor

    @property
    def losses(self) -> Tensor:
        """σ_i²: the outputs' squared error, a token, of leaving out each direction. Falling."""
        return self.sigma.square()

    def product(self, rank: int, dtype: torch.dtype, pivoted: bool = False) -> Factored:
        """Product of the leading directions: with σ shared evenly between the factors, or ``pivoted``."""
        root = self.sigma[:rank].sqrt()
        left, right = self.left[:, :rank] * root, root[:, None] * self.right[:rank]
        if pivoted:
            return pivoted_product(self.left[:, :rank], root[:, None] * right, dtype)
        return Factored(Dense(left.to(dtype).contiguous()), Dense(right.to(dtype).contiguous()))


class OutputMetric:
    """Error metric of a linear's outputs; with no ``inputs`` known, every direction of its matrix counts alike.

    ``whiten`` off is the plain SVD.
    """

    def __init__(self, inputs: LinearInput | None, whiten: bool = True) -> None:
        self.root: Tensor | None = None
        self.mismatch: Tensor | None = None
        if inputs is None or not whiten or inputs.level < Statistic.GRAM or not bool(inputs.gram.any()):
            return
        self.values, self.vectors = torch.linalg.eigh(inputs.gram.double())
        self.values = self.values.clamp(min=_FLOOR * float(self.values[-1]))
        self.root = self.vectors * self.values.sqrt()
        if inputs.level >= Statistic.MISMATCH and len(inputs.mismatch):
            self.mismatch = inputs.mismatch.double()

    def target(self, weight: Tensor, damping: float) -> Tensor:
        """W + W D (H + λI)⁻¹ in float64: the matrix ``[out, in]`` that compensates best for the inputs' mismatch D.

        λ is ``damping`` times the mean of diag H. Without a mismatch it is W.
        """
        exact = weight.double()
        if self.mismatch is None:
            return exact
        damped = self.values + damping * self.values.mean()
        moved: Tensor = (exact @ self.mismatch @ self.vectors / damped) @ self.vectors.T
        return exact + moved

    def losses(self, matrix: Tensor) -> Tensor:
        """The losses of a matrix's `spectrum` alone, from the smaller of its Grams: several times as fast."""
        exact = matrix.double() if self.root is None else matrix.double() @ self.root
        gram = exact @ exact.T if exact.shape[0] < exact.shape[1] else exact.T @ exact
        squares: Tensor = torch.linalg.eigvalsh(gram)
        return squares.flip(0).clamp(min=0)

    def spectrum(self, matrix: Tensor) -> Spectrum:
        """Singular values of a matrix ``[out, in]`` under this metric, and their directions."""
        exact = matrix.double()
        if self.root is None:
            return Spectrum(*torch.linalg.svd(exact, full_matrices=False))
        left, sigma, right = torch.linalg.svd(exact @ self.root, full_matrices=False)
        return Spectrum(left, sigma, (right / self.values.sqrt()) @ self.vectors.T)
