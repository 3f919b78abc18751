"""Pass ``int8``: 8-bit weights, with or without 8-bit activations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field
from pydantic.dataclasses import dataclass

from compress.calibration.statistics import Statistic
from compress.errors import UsageError
from compress.passes.base.integer import Integer
from compress.passes.solvers.grid import Grid, fitting
from compress.passes.solvers.rounding import round_to_nearest
from compress.passes.solvers.smoothing import SmoothQuant, rounded_inputs_error, smooth

if TYPE_CHECKING:
    from torch import Tensor

    from compress.calibration.block import Block
    from compress.calibration.layer_inputs import BlockInputs
    from compress.calibration.statistics import LinearInput
    from compress.checkpoint.base import ModelOutline
    from compress.passes.solvers.solver import Solved
    from compress.pipeline.contract import TargetCapability
    from compress.weights.forms import Dense, Quantized
    from compress.weights.stored import StoredForm

HEADROOM_LEVELS = 63
"""x86 without VNNI adds pairs of u8 x s8 products in 16 bits: 2 · 255 · 63 still fits, 2 · 255 · 127 saturates."""


@dataclass(frozen=True, kw_only=True)
class Int8(Integer):
    """Weights in 8 bits, symmetric, rounded to the nearest code unless another solver is asked for."""

    name: ClassVar[str] = "int8"
    bits: ClassVar[int] = 8
    presets: ClassVar[Mapping[str, str]] = {"W8A16": "group=128:act=none", "W8A8": "act=dynamic"}

    group: Literal["auto", "channel", "32", "64", "128"] = Field(
        "auto",
        description="inputs that share a scale; auto: 64, where it doesn't divide the inputs 32, else the whole "
        "channel, for all experts the same; with act=dynamic always the whole channel",
    )
    solver: Literal["rtn", "gptq", "learned"] = Field("rtn", description="as for int4")
    scale: Literal["absmax", "mse"] = Field("absmax", description="as for int4")
    smooth: Literal["auto", "awq", "off"] = Field(
        "auto",
        description="auto: fold activation ranges into the layer before (SmoothQuant), where act=dynamic gains by it; "
        "awq as for int4",
    )
    act: Literal["auto", "none", "dynamic"] = Field(
        "auto",
        description="inputs: none keeps them float, dynamic rounds every token to 8 bits as it comes; auto: none for "
        "what writes (bound by memory), dynamic for encoders (bound by arithmetic) on ort-cpu",
    )
    fallback: float = Field(
        0.02,
        ge=0,
        description="with act=dynamic: a linear whose relative squared output error exceeds this keeps float inputs",
    )

    def resolve(self, model: ModelOutline, target: TargetCapability) -> Self:
        """Decide ``act`` by the kind of model, and refuse what can't work on it."""
        plain = model.kind.generates_text or not target.any_inputs
        act = self.act if self.act != "auto" else ("none" if plain else "dynamic")
        if act == "dynamic" and not target.any_inputs:
            raise UsageError(f"int8: {target.name} has no products that round their inputs; give act=none")
        if act == "dynamic" and self.group not in ("auto", "channel"):
            raise UsageError(f"int8: act=dynamic needs one scale a channel; leave out group={self.group}")
        for option, value, default in (("symmetry", self.symmetry, "sym"), ("mixed", self.mixed, None)):
            if act == "dynamic" and value != default:
                raise UsageError(
                    f"int8: act=dynamic needs symmetric 8-bit codes; leave out {option}={value}, or give act=none"
                )
        if act == "dynamic" and model.expert_weights and not target.any_linear:
            raise UsageError("int8: transformers loads experts with float inputs alone; leave out act=dynamic")
        smoothing = "off" if self.smooth == "auto" and act != "dynamic" else self.smooth
        return replace(super().resolve(model, target), act=act, smooth=smoothing)

    def required_statistic(self) -> Statistic:
        """Statistics for these options: ranges and sampled rows of the inputs too, where these are quantized."""
        return max(super().required_statistic(), Statistic.AMAX if self.act == "dynamic" else Statistic.NONE)

    def _smooth(self, block: Block, inputs: BlockInputs) -> None:
        if self.smooth == "auto":
            smooth(block, inputs, SmoothQuant(with_dynamic_inputs))
        super()._smooth(block, inputs)

    def _solve(self, weights: Mapping[str, Dense], inputs: LinearInput | None) -> dict[str, Solved]:
        """Solve for dynamic inputs where these are asked for, known, and don't cost too much."""
        if self.act != "dynamic" or inputs is None:
            return super()._solve(weights, inputs)
        grids = {name: _headroom(weight.shape[1]) for name, weight in weights.items()}
        solved = {name: replace(s, act="dynamic") for name, s in self._solver.solve(weights, grids, inputs).items()}
        x = inputs.sample
        costly = {
            name: weights[name]
            for name, candidate in solved.items()
            if rounded_inputs_error(x @ weights[name].dequantize().T, candidate.weight, x) > self.fallback
        }
        return solved | super()._solve(costly, inputs)

    def _predict_leaf(self, leaf: StoredForm) -> StoredForm:
        if self.act == "dynamic":
            return _headroom(leaf.shape[1]).stored_form(leaf, "dynamic")
        return super()._predict_leaf(leaf)

    def _grid(self, bits: int, features: int) -> Grid:
        if self.group == "auto":
            alike = self.expert_features if features in self.expert_features else ()
            return Grid(bits, fitting(features, alike), self.symmetry == "sym")
        return super()._grid(bits, features)


def with_dynamic_inputs(matrix: Tensor) -> Quantized:
    """Round a matrix for kernels that round the inputs too: one scale a channel, and codes that can't saturate."""
    return round_to_nearest(matrix, _headroom(matrix.shape[1])).quantized(act="dynamic")


def _headroom(features: int) -> Grid:
    return Grid(8, features, levels=HEADROOM_LEVELS)
