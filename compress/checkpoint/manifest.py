"""The manifest of a variant, ``compress.json``: where it comes from, what was done, and how each weight is stored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from compress.checkpoint.artifact import Kind
from compress.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from compress.weights.forms import Weight

FILE = "compress.json"
LEFT_DENSE = "left dense"
"""How a `WeightReport` begins for a matrix that a pass could have factored, but that would not have become smaller."""
DEFAULT_FORMAT = "compressed-tensors"
"""The format of a variant's checkpoint unless another is asked for."""
PER_CHANNEL = -1
"""The group that stands for one scale a whole output channel, as in compressed-tensors."""


class Source(BaseModel):
    """The checkpoint that a variant was made from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """as the user named it"""
    sha256: str
    """over its weight files"""
    architecture: str
    kind: Kind
    parameters: int
    """tied ones once"""
    nbytes: int
    """bytes of its weights"""
    tied: bool

    @property
    def title(self) -> str:
        """What to call it where this machine's paths mean nothing."""
        path = Path(self.name).expanduser()
        return path.resolve().name if path.is_dir() else self.name.removeprefix("demo:")


class StoredForm(BaseModel):
    """How one matrix ``[out, in]`` is stored. ``bits``, ``group`` (or PER_CHANNEL) and ``act`` as in `Quantized`.

    A product has the ``parts`` left and right, a repaired matrix base, left and right as well. ``masked``: zeros that
    an earlier pass promised are kept.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    form: Literal["dense", "quantized", "factored", "residual"]
    shape: tuple[int, int]
    nbytes: int
    bits: int | None = None
    group: int | None = None
    symmetric: bool = True
    act: Literal["dynamic"] | None = None
    masked: bool = False
    parts: dict[str, StoredForm] = Field(default_factory=dict)

    @classmethod
    def of(cls, weight: Weight) -> StoredForm:
        """What the manifest says of a weight."""
        from compress.weights.forms import Dense, Factored, Quantized, mask_of  # here: a manifest is read without torch

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
                return cls.product(cls.of(left), cls.of(right))
        return cls.repaired(cls.of(weight.base), cls.of(weight.repair))

    @classmethod
    def product(cls, left: StoredForm, right: StoredForm) -> StoredForm:
        """The form of ``left @ right``."""
        shape, nbytes = (left.shape[0], right.shape[1]), left.nbytes + right.nbytes
        return cls(form="factored", shape=shape, nbytes=nbytes, parts={"left": left, "right": right})

    @classmethod
    def repaired(cls, base: StoredForm, repair: StoredForm) -> StoredForm:
        """The form of a matrix with a product beside it that repairs its error."""
        nbytes, parts = base.nbytes + repair.nbytes, {"base": base, **repair.parts}
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
            return self.product(*map(change, self.leaves))
        return change(self)


class WeightReport(BaseModel):
    """What storing one matrix W as Ŵ cost."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    solver: str
    """how Ŵ was found: ``gptq``, ``rtn``, or ``rtn (fallback: Hessian not positive definite)``"""
    error: float | None = Field(ge=0, allow_inf_nan=False)
    """‖(W − Ŵ)X‖² / ‖WX‖² on the calibration inputs X; None where no statistics of them were taken"""
    weight_error: float = Field(ge=0, allow_inf_nan=False)
    """‖W − Ŵ‖² / ‖W‖²"""

    @classmethod
    def of(cls, solver: str, exact: Tensor, stored: Tensor, gram: Tensor | None = None) -> WeightReport:
        """Compare two matrices ``[out, in]``; ``gram`` is E[x xᵀ] of their inputs, ``[in, in]``."""
        from compress.calibration.statistics import output_error  # here, so that a manifest is read without torch

        size = float(exact.square().sum())
        error = None if gram is None else output_error(exact, stored, gram)
        weight_error = float((stored - exact).square().sum()) / size if size > 0 else 0.0
        return cls(solver=solver, error=error, weight_error=weight_error)

    @property
    def fell_back(self) -> bool:
        """Whether the solver that was asked for gave way to a simpler one."""
        return "(fallback" in self.solver


class LayerReport(BaseModel):
    """What the passes did to one block."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float = Field(ge=0, allow_inf_nan=False)
    """spent on it, its statistics included"""
    weights: dict[str, WeightReport] = Field(default_factory=dict)
    """by matrix, those that a pass changed"""


class Manifest(BaseModel):
    """Everything that is needed to tell what a variant is, and to make it again."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    source: Source
    format: str = DEFAULT_FORMAT
    """of its checkpoint"""
    pipeline: str
    """as written"""
    recipe: list[str]
    """the passes with every option decided"""
    seed: int
    calibration: str
    """which text the statistics are from, and how much of it; "none" where no pass asked"""
    versions: dict[str, str]
    machine: dict[str, str]
    weights: dict[str, StoredForm] = Field(default_factory=dict)
    vector_nbytes: int = 0
    """bytes of what is no matrix: norms, biases, position tables"""
    parameters: int = 0
    """how many weights the passes left, tied ones once"""
    layers: dict[str, LayerReport] = Field(default_factory=dict)
    """by block: ``model.layers.0``, ``embedding``, ``head``, or ``tied`` where one matrix is both"""

    @property
    def nbytes(self) -> int:
        """Bytes of everything that is stored, tied matrices once."""
        return self.vector_nbytes + sum(stored.nbytes for stored in self.weights.values())

    @property
    def resized(self) -> str | None:
        """How many weights the passes left of the original's, or None where all of them."""
        before, after = self.source.parameters, self.parameters
        if after in (0, before):
            return None
        return f"{before / 1e6:.1f} → {after / 1e6:.1f} million ({after / before:.2f}×)"

    @property
    def bits_per_weight(self) -> float:
        """Stored bits over the original's weights, scales and zero points included."""
        return 8 * self.nbytes / self.source.parameters

    def save(self, directory: Path) -> None:
        """Write it into a variant's directory."""
        (directory / FILE).write_text(self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, directory: Path) -> Manifest:
        """Read it back; a ModelError for a directory that is no variant, or was made by another version."""
        try:
            return cls.model_validate_json((directory / FILE).read_bytes())
        except OSError:
            raise ModelError(f"{directory} is not a variant: it has no {FILE}; `compress run` makes variants") from None
        except ValidationError as error:
            first = error.errors()[0]
            what = ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))
            raise ModelError(f"{directory / FILE} can't be read: {what}; make the variant again") from None
