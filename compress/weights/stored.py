"""Stored forms of matrices, and reports of their errors, as a manifest has them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from compress.weights.forms import Weight

PER_CHANNEL = -1
"""The group that stands for one scale a whole output channel, as in compressed-tensors."""
ORDER_BYTES = 4
"""Bytes of an output's place in a pivoted product."""
OF_RANK = ", rank "
"""Before a product's rank, in a `WeightReport`."""
LEFT_DENSE = "left dense"
"""Beginning of a `WeightReport` for a matrix that a pass could factor, but that would not have become smaller."""
DEFAULT_FORMAT = "compressed-tensors"
"""The format of a variant's checkpoint unless another is asked for."""
Count = Annotated[int, Field(gt=0, le=1 << 53)]
"""How many numbers there are; beyond, a float can't tell them."""
CountOrZero = Annotated[int, Field(ge=0, le=1 << 53)]


class StoredForm(BaseModel):
    """Stored form of one matrix ``[out, in]``. ``bits``, ``group`` (or PER_CHANNEL) and ``act`` as in `Quantized`.

    A product has the ``parts`` left and right, a repaired matrix base, left and right as well. ``masked``: zeros that
    an earlier pass promised are kept. ``pivoted``: some of a product's outputs are its right factor's own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    form: Literal["dense", "quantized", "factored", "residual"]
    shape: tuple[Count, Count]
    nbytes: CountOrZero
    bits: Annotated[int, Field(gt=0, le=64)] | None = None
    group: Annotated[int, Field(ge=-1, le=1 << 53)] | None = None
    symmetric: bool = True
    act: Literal["dynamic"] | None = None
    masked: bool = False
    pivoted: bool = False
    parts: dict[str, StoredForm] = Field(default_factory=dict)

    @classmethod
    def of(cls, weight: Weight) -> StoredForm:
        """The form of a weight."""
        from compress.weights.forms import (
            Dense,
            Factored,
            Pivoted,
            Quantized,
            mask_of,
        )  # here: a manifest is read without torch

        masked = mask_of(weight) is not None
        match weight:
            case Dense():
                return cls(form="dense", shape=weight.shape, nbytes=weight.nbytes(), masked=masked)
            case Quantized():
                return cls(
                    form="quantized",
                    shape=weight.shape,
                    nbytes=weight.nbytes(),
                    bits=weight.bits,
                    group=PER_CHANNEL if weight.per_channel else weight.group,
                    symmetric=weight.zero_point is None,
                    act=weight.act,
                    masked=masked,
                )
            case Factored(left=left, right=right):
                return cls.product(cls.of(left), cls.of(right), isinstance(weight, Pivoted))
        return cls.repaired(cls.of(weight.base), cls.of(weight.correction))

    @classmethod
    def product(cls, left: StoredForm, right: StoredForm, pivoted: bool = False) -> StoredForm:
        """The form of ``left @ right``; of a ``pivoted`` one with the order of its outputs."""
        outputs, nbytes = left.shape[0], left.nbytes + right.nbytes
        if pivoted:
            outputs += right.shape[0]
            nbytes += outputs * ORDER_BYTES
        parts = {"left": left, "right": right}
        return cls(form="factored", shape=(outputs, right.shape[1]), nbytes=nbytes, pivoted=pivoted, parts=parts)

    @classmethod
    def repaired(cls, base: StoredForm, correction: StoredForm) -> StoredForm:
        """The form of a matrix with a product beside it that repairs its error."""
        nbytes, parts = base.nbytes + correction.nbytes, {"base": base, **correction.parts}
        return cls(form="residual", shape=base.shape, nbytes=nbytes, parts=parts)

    @classmethod
    def dense(cls, shape: tuple[int, int], itemsize: int) -> StoredForm:
        """The form of a float matrix with so many bytes a number."""
        return cls(form="dense", shape=shape, nbytes=shape[0] * shape[1] * itemsize)

    @property
    def leaves(self) -> list[StoredForm]:
        """The matrices that are stored: its parts, or itself."""
        return list(self.parts.values()) or [self]

    @property
    def itemsize(self) -> int:
        """Bytes of a number of a dense matrix."""
        return self.nbytes // (self.shape[0] * self.shape[1])

    @property
    def merged(self) -> StoredForm:
        """The form once a product is multiplied out, with the numbers of its last factor."""
        last = self.leaves[-1]
        if not self.parts:
            return self
        return self.dense(self.shape, last.itemsize if last.form == "dense" else 2)

    def changed(self, change: Callable[[StoredForm], StoredForm]) -> StoredForm:
        """A matrix as it is stored once ``change`` has been done to it, or to both factors of a product."""
        if self.form == "factored":
            return self.product(change(self.parts["left"]), change(self.parts["right"]), self.pivoted)
        return change(self)


class WeightReport(BaseModel):
    """Report of one matrix W stored as Ŵ: solver and errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    solver: str
    """how Ŵ was found: ``gptq``, ``rtn``, or ``rtn (fallback: Hessian not positive definite)``"""
    error: float | None = Field(ge=0, allow_inf_nan=False)
    """‖(W − Ŵ)X‖² / ‖WX‖² on the calibration inputs X; None where no statistics of them were taken"""
    weight_error: float = Field(ge=0, allow_inf_nan=False)
    """‖W − Ŵ‖² / ‖W‖²"""
    underflow: int = Field(default=0, ge=0)
    """numbers of W other than 0 that Ŵ's type holds as 0"""

    @classmethod
    def of(cls, solver: str, exact: Tensor, stored: Tensor, gram: Tensor | None = None) -> WeightReport:
        """Compare two matrices ``[out, in]``; ``gram`` is E[x xᵀ] of their inputs, ``[in, in]``."""
        from compress.weights.error import output_error  # here, so that a manifest is read without torch

        size = float(exact.square().sum())
        error = None if gram is None else output_error(exact, stored, gram)
        weight_error = float((stored - exact).square().sum()) / size if size > 0 else 0.0
        return cls(solver=solver, error=error, weight_error=weight_error)

    @property
    def method(self) -> str:
        """The solver without its particulars (ranks, reasons, numbers of tokens): ``gptq``, ``whitened svd``."""
        return re.split(r" \(|[,:;] ", self.solver)[0]

    @property
    def left_dense(self) -> bool:
        """Whether a pass could have factored it, but the product would not have become smaller."""
        return self.solver.startswith(LEFT_DENSE)

    @property
    def factored(self) -> bool:
        """Whether it was factored, even where its product was multiplied out since."""
        return OF_RANK in self.solver

    @property
    def fell_back(self) -> bool:
        """Whether the solver that was asked for gave way to a simpler one."""
        return "(fallback" in self.solver
