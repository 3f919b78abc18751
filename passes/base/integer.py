"""Base of the integer passes: their options, and the order in which a layer's matrices are solved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field
from pydantic.dataclasses import dataclass

from compress.calibration.statistics import Statistic
from compress.errors import UsageError
from compress.modeling.families import family_of
from compress.passes.base.aliases import INTEGER_ALIASES
from compress.passes.base.skip import SKIP, Skipped
from compress.passes.base.table_bits import EXACT_BITS, Table, TableForm, narrow_shares, table_bits
from compress.passes.solvers.awq import AwqSearch
from compress.passes.solvers.bit_budget import check_bits, check_budget, one_width, plan_widths
from compress.passes.solvers.by_factor import by_factor, rejoined
from compress.passes.solvers.gptq import Order
from compress.passes.solvers.grid import FITTING, Grid, fitting
from compress.passes.solvers.learned import learn
from compress.passes.solvers.low_rank_correction import low_rank_correction, predict_correction
from compress.passes.solvers.smoothing import smooth
from compress.passes.solvers.solver import Solver, report
from compress.passes.solvers.tables import solve_table
from compress.passes.solvers.width_losses import Trial
from compress.pipeline.alias import Alias
from compress.pipeline.contract import WeightPass
from compress.weights.forms import Dense, Factored, Masked, Quantized, Residual, whole_name

if TYPE_CHECKING:
    from compress.calibration.block import Block, BlockRole
    from compress.calibration.layer_inputs import BlockInputs
    from compress.calibration.statistics import InputStatistics, LinearInput
    from compress.calibration.survey import Survey
    from compress.checkpoint.base import ModelOutline
    from compress.passes.solvers.solver import Solved
    from compress.pipeline.contract import TargetCapability
    from compress.weights.forms import Weight
    from compress.weights.stored import StoredForm


@dataclass(frozen=True, kw_only=True)
class Integer(WeightPass):
    """Weights in integers, with a scale for every group of inputs.

    A subclass says which of the words of ``group`` and ``smooth`` it takes, and their defaults: "auto" is for one that
    decides by the model (`resolve`).
    """

    bits: ClassVar[int]
    accepts: ClassVar[tuple[type, ...]] = (Dense, Masked, Factored)
    produces: ClassVar[tuple[type, ...]] = (Quantized, Residual)
    aliases: ClassVar[Mapping[str, Alias]] = INTEGER_ALIASES

    group: Literal["auto", "32", "64", "128", "channel"]
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
    smooth: Literal["auto", "awq", "off"]
    steps: int = Field(50, ge=1, description="learned: training steps a layer")
    compensate: int = Field(
        0,
        ge=0,
        description="rank of a float product beside each matrix of a layer that repairs its error; 0: none",
    )
    head: TableForm = Field(
        "auto",
        description="the output head; auto: int8, but beside layers of 4 bits int4 where it is solved and holds a "
        "third of the weights, beside 3 bits or fewer an eighth; a tied one goes with the embedding, and either option "
        "holds for both",
    )
    embed: TableForm = Field(
        "auto",
        description="the token embedding; auto: int8, but int4 beside layers of 4 bits or fewer; where it is tied, as "
        "the head; with --target hf one that an encoder and a decoder share stays float, and so does the head",
    )
    skip: str = Field("", description=SKIP)
    mixed: float | None = Field(
        None,
        ge=2,
        le=8,
        description="bits a weight on average: matrices get the one or the other of the two widths next to it (of 2, "
        "3, 4, 6 and 8), by what each costs the model's predictions; one width for all where no mixture is better",
    )
    choices: tuple[int, ...] = Field((2, 3, 4, 6, 8), exclude=True)
    """The bits that ``mixed`` chooses from, once the target is known."""
    widths: Mapping[str, int] = Field(default_factory=dict, exclude=True)
    """Matrices' bits, once they are planned; the others have `_width`."""
    narrow: Mapping[Table, float] = Field(default_factory=dict, exclude=True)
    """Tables that were left open and have 4 bits, and the shares of the weights that they hold."""
    expert_features: tuple[int, ...] = Field((), exclude=True)
    """Numbers of inputs of the experts' matrices, which share one group where that is left open."""

    def output_forms(self) -> tuple[type, ...]:
        """Forms that are left: integers, and with ``compensate`` integers with a correction."""
        return self.produces if self.compensate else (Quantized,)

    def resolve(self, model: ModelOutline, target: TargetCapability) -> Self:
        """Refuse what can't work on this model or target; keep an encoder-decoder's shared table float, if need be."""
        if model.kind.is_seq2seq and not target.any_table:
            return replace(self, head="float", embed="float")._resolve(model, target)
        if model.tied and "auto" in (self.head, self.embed):
            form = self.embed if self.head == "auto" else self.head
            return replace(self, head=form, embed=form)._resolve(model, target)
        return self._resolve(model, target)

    def _resolve(self, model: ModelOutline, target: TargetCapability) -> Self:
        if self.compensate and self.solver == "learned":
            raise UsageError(f"{self.name}: compensate repairs an error that solver=learned trains; use solver=gptq")
        choices = tuple(bits for bits in self.choices if bits in target.bits)
        if self.mixed is not None:
            check_budget(self.name, self.mixed, choices)
        else:
            outside = (table_bits(form) for form in (self.head, self.embed))
            check_bits(self.name, {self.bits, *(bits for bits in outside if bits is not None)}, target)
        if model.tied and table_bits(self.head) != table_bits(self.embed):
            raise UsageError(
                f"{self.name}: head and embedding are tied, so set both alike: head={self.head}:embed={self.head}"
            )
        self._skipped.check(self.name, model)
        for name, features in ((name, model.shape(name)[1]) for name in model.matrices):
            if self.group.isdigit() and features % int(self.group) and name not in self._skipped:
                fits = next((str(group) for group in (128, *FITTING) if features % group == 0), "channel")
                raise UsageError(
                    f"{self.name}: group={self.group} doesn't divide the {features} inputs of {name}; use group={fits}"
                )
        self._check_packed(model, target)
        if model.expert_weights and not target.any_linear and self.mixed is not None:
            raise UsageError(
                f"{self.name}: transformers loads experts of one width alone; leave out mixed={self.mixed:g}"
            )
        expert_features = tuple(sorted({model.shape(name)[1] for name in model.expert_weights}))
        return replace(self, choices=choices, expert_features=expert_features)._with_narrow_tables(model, target)

    def _with_narrow_tables(self, model: ModelOutline, target: TargetCapability) -> Self:
        """Give a head or embedding that is left open 4 bits where a byte costs no more there than in the layers."""
        if 4 not in target.bits:
            return self
        shares = narrow_shares(model, self.mixed or self.bits, solved=self.solver != "rtn")
        narrow = {table: share for table, share in shares.items() if getattr(self, table) == "auto"}
        head: TableForm = "int4" if "head" in narrow else self.head
        embed: TableForm = "int4" if "embed" in narrow else head if model.tied else self.embed
        return replace(self, narrow=narrow, head=head, embed=embed)

    def notices(self, model: ModelOutline, target: TargetCapability) -> Sequence[str]:
        """Which of the head and the embedding have 4 bits because that pays."""
        names = {"head": "head", "embed": "embedding"}
        kept = "head=int8:embed=int8 keeps both" if model.tied else "{}=int8 keeps it"
        return [
            f"the {names[table]}, {100 * share:.0f} % of the weights, has 4 bits too; {kept.format(table)} at 8"
            for table, share in self.narrow.items()
        ]

    def _check_packed(self, model: ModelOutline, target: TargetCapability) -> None:
        """Refuse to pack integers of what transformers loads none of but whole channels of 8 bits."""
        family = family_of(model.config.model_type)
        per_channel = self.bits == 8 and self.group == "channel" and self.mixed is None
        if family is not None and not family.packs and not target.any_linear and not per_channel:
            raise UsageError(
                f"{self.name}: transformers loads no packed integers of a {model.config.model_type}; use "
                "int8:group=channel, or --target ort-cpu, which holds them"
            )

    def required_statistic(self) -> Statistic:
        """Statistics for these options: none to round, else the inputs' Gram, and the original model's inputs."""
        if self.solver == "learned" or (self.solver == "gptq" and self.mismatch == "on"):
            return Statistic.MISMATCH
        if self.solver == "gptq" or self.smooth == "awq" or self.compensate:
            return Statistic.GRAM
        return Statistic.NONE if self.mixed in (None, self._width) else Statistic.AMAX

    def uses_gradients(self) -> bool:
        """Whether the solver is ``learned``."""
        return self.solver == "learned"

    def predict(self, name: str, role: BlockRole, stored: StoredForm) -> StoredForm:
        """Predict integers on the options' grid; a UsageError with a ``mixed`` whose widths hang on the weights."""
        if self.mixed not in (None, self._width):
            raise UsageError(
                f"{self.name}: mixed shares bits out by the weights' losses; leave it out to predict sizes"
            )
        bits = self._table_bits(role)
        if name in self._skipped or (role != "layer" and bits is None):
            return stored
        if role != "layer" and bits is not None:
            return stored.changed(lambda leaf: self._table_grid(bits, leaf.shape[1]).stored_form(leaf))
        predicted = stored.changed(self._predict_leaf)
        return predict_correction(stored, predicted, self.compensate) if self.compensate else predicted

    def _predict_leaf(self, leaf: StoredForm) -> StoredForm:
        return self._grid(self._width, leaf.shape[1]).stored_form(leaf)

    def plan(self, survey: Survey) -> Self:
        """Spend the bit budget of ``mixed`` over the matrices."""
        if self.mixed is None:
            return self
        trial = Trial(self.name, replace(self._solver, mismatch=False), self._grid)
        return replace(self, widths=plan_widths(survey, self.mixed, self.choices, trial, self._skipped.__contains__))

    def run(self, block: Block, inputs: BlockInputs) -> None:
        """Solve a layer's matrices in the order in which they run, each stage on what the ones before it left."""
        if block.role != "layer":
            self._run_outside(block, inputs)
            return
        self._smooth(block, inputs)
        open_ = {name: weight for name, weight in block.weights.items() if name not in self._skipped}
        solved: dict[str, Solved] = {}
        for names, stats in inputs.by_stage(self.required_statistic(), open_):
            here = {name: open_[name] for name in names}
            solved |= by_factor(self.name, here, stats, self._solve)
            block.weights |= {name: rejoined(name, weight, solved) for name, weight in here.items()}
            if self.compensate:
                toward_original = self.solver == "gptq" and self.mismatch == "on"
                block.weights |= low_rank_correction(here, block.weights, self.compensate, stats, toward_original)
        if self.solver == "learned" and (learned := learn(block, inputs, solved, self.steps)):
            solved |= learned
            block.weights |= {name: rejoined(name, weight, solved) for name, weight in open_.items()}
        block.reports |= {name: report(name, weight, block.weights[name], solved) for name, weight in open_.items()}

    def apply(self, name: str, weight: Weight, stats: InputStatistics) -> Weight:
        """Solve one matrix by itself, with its inputs' statistics."""
        return rejoined(name, weight, by_factor(self.name, {name: weight}, stats.get(name), self._solve))

    def _solve(self, weights: Mapping[str, Dense], inputs: LinearInput | None) -> dict[str, Solved]:
        """Solve matrices that read the same inputs."""
        widths = {name: self.widths.get(whole_name(name), self._width) for name in weights}
        grids = {name: self._grid(widths[name], weight.shape[1]) for name, weight in weights.items()}
        return self._solver.solve(weights, grids, inputs)

    @property
    def _solver(self) -> Solver:
        method: Literal["rtn", "gptq"] = "rtn" if self.solver == "rtn" else "gptq"
        return Solver(method, self.scale == "mse", self.order, self.mismatch == "on")

    @property
    def _width(self) -> int:
        """The bits of all matrices of layers, unless a plan says otherwise."""
        return self.bits if self.mixed is None else one_width(self.choices, self.mixed)

    def _grid(self, bits: int, features: int) -> Grid:
        """The grid of a matrix with so many inputs.

        Only a left factor's inputs can be more or fewer than whole groups (`resolve`): then these are smaller, or one.
        """
        group = int(self.group) if self.group.isdigit() else features
        return Grid(bits, group if features % group == 0 else fitting(features), self.symmetry == "sym")

    def _smooth(self, block: Block, inputs: BlockInputs) -> None:
        if self.smooth == "awq":
            smooth(block, inputs, AwqSearch(lambda features: self._grid(self.bits, features)))

    def _run_outside(self, block: Block, inputs: BlockInputs) -> None:
        """Solve the head on what it reads; the embedding alone is rounded, since its rows are read as they are.

        8 bits are rounded anyway: there is little to gain, and on little text it is lost, as by the correction of
        mismatched inputs (SmolLM2 with ten layers in 4 bits, on 8 windows: perplexity 1.032 instead of 1.028 times).
        """
        bits = self._table_bits(block.role)
        if bits is None:
            return
        open_ = [name for name in block.weights if name not in self._skipped]
        grid, tied = partial(self._table_grid, bits), block.role == "tied"
        level = Statistic.NONE if self.solver == "rtn" or bits == EXACT_BITS else self.required_statistic()
        for [name], read in inputs.by_stage(level, open_):
            block.weights[name], block.reports[name] = solve_table(
                self.name, name, block.weights[name], self._solver, grid, read, tied
            )

    def _table_bits(self, role: BlockRole) -> int | None:
        """Bits of the embedding or the head; None where it stays float."""
        return table_bits(self.head if role == "head" else self.embed)

    def _table_grid(self, bits: int, features: int) -> Grid:
        if bits == self.bits or bits < 8:
            return self._grid(bits, features)
        group = min(FITTING)  # the runtime rounds the head's inputs in these groups too: 64 cost SmolLM2 twice as much
        return Grid(bits, group if features % group == 0 else features)

    @property
    def _skipped(self) -> Skipped:
        return Skipped(self.skip)
