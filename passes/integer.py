"""What every integer pass shares: its options, and the order in which a layer's matrices are solved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field
from pydantic.dataclasses import dataclass

from compress.block import Block
from compress.contract import Capability, Statistic, WeightPass
from compress.errors import UsageError
from compress.inputs import BlockInputs
from compress.manifest import WeightReport
from compress.passes.awq import Awq
from compress.passes.gptq import Order
from compress.passes.grid import Grid
from compress.passes.learned import learn
from compress.passes.mixed import allocate, survey
from compress.passes.smoothing import smooth
from compress.passes.solve import Solved, Solver, dense
from compress.statistics import InputStatistics, LinearInput
from compress.weight import Dense, Quantized, Weight, stacked

if TYPE_CHECKING:
    from compress.model import Model

_ROWS = 8192
"""Rows of an embedding that are rounded together: it is by far the largest matrix of a small model."""
_FITTING = (64, 32)
"""Groups tried in this order where the group is left open: as accurate as finer ones, and faster than they are."""

Outside = Literal["float", "int8", "int4"]


@dataclass(frozen=True)
class Integer(WeightPass):
    """Weights in integers, with a scale for every group of inputs."""

    bits: ClassVar[int]
    accepts: ClassVar[tuple[type, ...]] = (Dense,)
    produces: ClassVar[tuple[type, ...]] = (Quantized, Dense)

    group: Literal["32", "64", "128", "channel"] = Field("32", description="inputs that share a scale")
    symmetry: Literal["sym", "asym"] = Field("sym", description="asym: a zero point for every group as well")
    solver: Literal["rtn", "gptq", "learned"] = Field(
        "gptq",
        description="rtn rounds to the nearest code and needs no calibration; gptq makes each column's error good in "
        "those that follow; learned goes on from there and trains the layer against the original's output",
    )
    scale: Literal["absmax", "mse"] = Field(
        "mse", description="absmax spans a group's range; mse searches the scale with the least error"
    )
    order: Order = Field(
        "gar", description="in which gptq rounds: as they stand, or the most active first (groups stay whole)"
    )
    mismatch: Literal["on", "off"] = Field(
        "on", description="gptq: aim at the original model's outputs, given what the compressed layers deliver"
    )
    smooth: Literal["awq", "off"] = Field(
        "off", description="awq: scale the inputs' most active channels up in the weights, down in what makes them"
    )
    steps: int = Field(50, ge=1, description="learned: training steps a layer")
    head: Outside = Field("int8", description="the output head; a tied one goes with the embedding")
    embed: Outside = Field("int8", description="the token embedding")
    skip: str = Field(
        "", description="matrices to leave float: patterns of names, joined by +, like *.down_proj.weight"
    )
    mixed: float | None = Field(
        None, ge=2, le=8, description="bits a weight on average: layers get 2, 3, 4 or 8, by measured loss a byte"
    )
    choices: tuple[int, ...] = Field((2, 3, 4, 8), exclude=True)
    """The bits that ``mixed`` chooses from, once the target is known."""
    widths: Mapping[str, int] = Field(default_factory=dict, exclude=True)
    """Each matrix's bits, once they are planned."""

    def settle(self, model: Model, holds: Capability) -> Self:
        """Refuse what can't work on this model or target."""
        choices = tuple(bits for bits in self.choices if bits in holds.bits)
        self._check_bits(choices, holds)
        if model.tied and self.head != self.embed:
            raise UsageError(
                f"{self.name}: this model's head is its embedding, stored once; give head={self.head} and "
                f"embed={self.head}"
            )
        matrices = {name: model.shape(name)[1] for name in model.names if len(model.shape(name)) == 2}
        for pattern in self._patterns:
            if not any(fnmatchcase(name, pattern) for name in matrices):
                example = next(iter(matrices), "")
                raise UsageError(f"{self.name}: skip={pattern} matches no matrix; their names are like {example}")
        for name, features in matrices.items():
            if self.group.isdigit() and features % int(self.group) and not self._skipped(name):
                fits = next((str(group) for group in (128, *_FITTING) if features % group == 0), "channel")
                raise UsageError(
                    f"{self.name}: group={self.group} doesn't divide the {features} inputs of {name}; use group={fits}"
                )
        return replace(self, choices=choices)

    def needs(self) -> Statistic:
        """Nothing for plain rounding; else the inputs' Gram, and the original model's inputs beside them."""
        if self.solver == "learned" or (self.solver == "gptq" and self.mismatch == "on"):
            return Statistic.MISMATCH
        if self.solver == "gptq" or self.smooth == "awq":
            return Statistic.GRAM
        return Statistic.AMAX if self.mixed is not None else Statistic.NONE

    def plan(self, walk: Callable[[], Iterable[tuple[Block, BlockInputs]]]) -> Self:
        """Share a bit budget out over the matrices."""
        if self.mixed is None:
            return self
        offers = survey(walk(), self.choices, self._grid, self._skipped)
        return replace(self, widths=allocate(offers, self.mixed))

    def run(self, block: Block, inputs: BlockInputs) -> None:
        """Solve a layer's matrices in the order in which they run, each stage on what the ones before it left."""
        if block.role != "layer":
            self._run_outside(block)
            return
        self._smooth(block, inputs)
        open_ = {name: dense(self.name, name, w) for name, w in block.weights.items() if not self._skipped(name)}
        solved: dict[str, Solved] = {}
        for stage in inputs.stages() if self.needs() > Statistic.NONE else []:
            here = {name: open_[name] for name in stage if name in open_}
            if here:
                solved |= self._solve(here, inputs.statistics(self.needs(), list(here))[next(iter(here))])
                block.weights |= {name: solved[name].weight for name in here}
        for name in [name for name in open_ if name not in solved]:
            solved |= self._solve({name: open_[name]}, None)
        if self.solver == "learned":
            solved |= learn(block, inputs, solved, self.steps)
        block.weights |= {name: one.weight for name, one in solved.items()}
        block.reports |= {name: one.report() for name, one in solved.items()}

    def apply(self, name: str, weight: Weight, stats: InputStatistics) -> Weight:
        """One matrix by itself, solved with its inputs' statistics."""
        return self._solve({name: dense(self.name, name, weight)}, stats.get(name))[name].weight

    def _solve(self, weights: Mapping[str, Dense], inputs: LinearInput | None) -> dict[str, Solved]:
        """Solve matrices that read the same inputs."""
        grids = {name: self._grid(self.widths.get(name, self.bits), w.shape[1]) for name, w in weights.items()}
        return self._solver.solve(weights, grids, inputs)

    @property
    def _solver(self) -> Solver:
        kind: Literal["rtn", "gptq"] = "rtn" if self.solver == "rtn" else "gptq"
        return Solver(kind, self.scale == "mse", self.order, self.mismatch == "on")

    def _grid(self, bits: int, features: int) -> Grid:
        """The grid of a matrix with so many inputs."""
        return Grid(bits, int(self.group) if self.group.isdigit() else features, self.symmetry == "sym")

    def _smooth(self, block: Block, inputs: BlockInputs) -> None:
        if self.smooth == "awq":
            smooth(block, inputs, Awq(lambda features: self._grid(self.bits, features)))

    def _run_outside(self, block: Block) -> None:
        """Round the embedding and the head: nothing is known of their inputs."""
        kind = self.head if block.role == "head" else self.embed
        for name, weight in block.weights.items():
            if kind == "float" or self._skipped(name):
                continue
            exact = dense(self.name, name, weight)
            grid = self._outside_grid(kind, exact.shape[1])
            masks = exact.mask.split(_ROWS) if exact.mask is not None else [None] * -(-exact.shape[0] // _ROWS)
            parts = [
                self._solver.plain(Dense(rows, mask), grid).quantized(rows.dtype)
                for rows, mask in zip(exact.tensor.split(_ROWS), masks, strict=True)
            ]
            block.weights[name] = stored = stacked(parts)
            block.reports[name] = WeightReport.of("rtn", exact.dequantize(), stored.dequantize())

    def _outside_grid(self, kind: Outside, features: int) -> Grid:
        bits = int(kind.removeprefix("int"))
        if bits == self.bits or bits < 8:
            return self._grid(bits, features)
        return Grid(bits, fitting(features))

    @property
    def _patterns(self) -> list[str]:
        return self.skip.split("+") if self.skip else []

    def _skipped(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self._patterns)

    def _check_bits(self, choices: tuple[int, ...], holds: Capability) -> None:
        """Refuse widths that the target can't hold, and a budget that its widths can't meet."""
        if self.mixed is not None:
            if not choices[0] <= self.mixed <= choices[-1]:
                raise UsageError(f"{self.name}: mixed={self.mixed:g} is out of reach of {_listed(choices)} bits")
            return
        wanted = {self.bits, *(int(kind[3:]) for kind in (self.head, self.embed) if kind != "float")}
        if odd := sorted(wanted - holds.bits):
            other = min(holds.bits, key=lambda bits: (abs(bits - odd[0]), -bits))
            raise UsageError(
                f"{self.name}: {holds.target} holds integers of {_listed(sorted(holds.bits))} bits, not {odd[0]}; use "
                f"int{other}, or --target hf"
            )


def fitting(features: int) -> int:
    """The group where it is left open: 64, where that doesn't divide the inputs 32, else all of them."""
    return next((group for group in _FITTING if features % group == 0), features)


def _listed(numbers: Iterable[int]) -> str:
    *most, last = map(str, numbers)
    return f"{', '.join(most)} and {last}" if most else last
