"""Scorecard of a run: settings, rows and measures, with a versioned JSON form."""

from __future__ import annotations

from itertools import product
from typing import Literal

from pydantic import BaseModel, Field

from compress.benchmarks.results.contender import Applied, Role
from compress.benchmarks.results.kinds import PLANS
from compress.benchmarks.results.layer_errors import LayerErrors
from compress.benchmarks.runtime.decoding import Sampling
from compress.benchmarks.runtime.specs import ENGINES
from compress.benchmarks.statistics.measure import Measure, summarize
from compress.encodable_text import EncodableText
from compress.modeling.kinds import TaskKind

SCHEMA = 1
Direction = Literal["higher", "lower"]
BUSY = 0.2
"""cores that other programs may keep busy before it counts"""


class Settings(BaseModel, frozen=True):
    """Settings of a scoring run: by default a small decoder and three variants take four to eight minutes.

    Every contender is launched ``launches`` times (0: 3), each time as a fresh process that runs alone, and measured in
    ``rounds`` of each launch (0: 2 for decoders, 3 for encoders, whose turns are short; when ``quick``, which reads few
    windows as well, 1). Launches are added, for up to ``patience`` seconds a contender (None: two minutes; none when
    quick), until every contender's ratio of speed to the original is known to ``precision`` on either side.

    Decoders: time to first token on ``prompt`` tokens, ``steps`` decoded after it, and prefill on ``prefill`` tokens;
    of encoder-decoders the encoder reads these. Encoders: ``runs`` single sentences of ``prompt`` tokens (or images),
    and a batch of ``batch``. ``threads``: None takes the physical cores. ``price_per_hour`` of the machine, in any
    money, gives a cost.

    Every one of ``lengths`` is measured in every one of ``batches`` besides, of a model that takes in ``longest``
    tokens; decoding with so many ``beams``, and by ``sampling``, where they are given.
    """

    quick: bool = False
    launches: int = Field(default=0, ge=0)
    rounds: int = Field(default=0, ge=0)
    patience: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    precision: float = Field(default=0.03, gt=0, allow_inf_nan=False)
    prompt: int = Field(default=128, ge=1)
    steps: int = Field(default=32, ge=2)
    prefill: int = Field(default=512, ge=1)
    runs: int = Field(default=20, ge=1)
    batch: int = Field(default=8, ge=1)
    warmup: int = Field(default=3, ge=1)
    threads: int | None = Field(default=None, ge=1)
    price_per_hour: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    seed: int = 0
    lengths: tuple[int, ...] = ()
    batches: tuple[int, ...] = ()
    longest: int | None = Field(default=None, ge=1)
    beams: int | None = Field(default=None, ge=1)
    sampling: Sampling | None = None

    @property
    def cells(self) -> list[tuple[int, int]]:
        """Every length with every batch size; none where neither was asked for."""
        if not self.lengths and not self.batches:
            return []
        return list(product(self.lengths or (self.prompt,), self.batches or (1,)))

    def steps_after(self, length: int) -> int:
        """Number of tokens decoded after a prompt of a length, within what the model takes in."""
        return self.steps if self.longest is None else max(0, min(self.steps, self.longest - length))

    def within(self, length: int, kind: TaskKind) -> Settings:
        """Settings for a kind of model and windows of ``length`` tokens: shorter prompts where these don't fit."""
        decoded = min(self.steps, max(length - 1, 2)) if kind.generates_text else 0
        plan = PLANS[kind]
        patience = 0.0 if self.quick else plan.patience
        return self.model_copy(
            update={
                "launches": self.launches or plan.launches,
                "rounds": self.rounds or (1 if self.quick else plan.rounds),
                "patience": patience if self.patience is None else self.patience,
                "steps": decoded or self.steps,
                "prompt": max(1, min(self.prompt, length - decoded)),
                "prefill": min(self.prefill, length),
            }
        )


class Cell(BaseModel, frozen=True):
    """A contender's speed with ``batch`` prompts or sentences of ``length`` tokens at once."""

    length: int
    batch: int
    measures: dict[str, Measure]


class Row(BaseModel, frozen=True):
    """One contender's figures, by a metric's key. ``unchanged``: byte for byte what the float export is.

    ``path`` is its directory, empty for what was made for the run alone. ``zeros`` and ``products`` as in `Artifact`;
    ``passes`` were applied in order, ``errors`` are what they cost each layer; ``cells`` as `Settings.cells`.
    ``unavailable``: why its runtime can't be run here, so that nothing but sizes is known; empty where it can.
    """

    name: EncodableText
    path: EncodableText
    engine: str
    role: Role
    recipe: EncodableText
    parameters: int
    unchanged: bool = False
    zeros: bool = False
    products: bool = False
    passes: tuple[Applied, ...] = ()
    measures: dict[str, Measure]
    cells: tuple[Cell, ...] = ()
    errors: LayerErrors | None = None
    unavailable: EncodableText = ""

    @property
    def variant(self) -> str:
        """Name of its variant; rows of one that was exported to several targets share it."""
        spec = ENGINES.get(self.engine)
        return self.name if spec is None else self.name.removesuffix(f"/{spec.target}")


class Scorecard(BaseModel, frozen=True):
    """The original in the first row, then every other contender, all measured in one interleaved run."""

    schema_version: Literal[1] = 1
    model: EncodableText
    model_sha256: str = ""
    """over the original's weight files; empty in reports of before it was recorded"""
    kind: TaskKind
    created: str
    command: EncodableText
    settings: Settings
    threads: int
    machine: dict[str, EncodableText]
    versions: dict[str, str]
    load: float
    """one-minute load average before the first measurement"""
    others: float
    """cores that other programs kept busy while speed was measured"""
    bandwidth: float
    """bytes a second that this machine reads, by as many threads as the contenders used"""
    seconds: dict[str, float] = {}
    """what scoring took by phase (`stopwatch`), until the report was written"""
    windows: tuple[int, int]
    """how many evaluation windows, of how many tokens each; an image is a window of 1"""
    text_sha256: str = ""
    """over the evaluation windows' tokens and their mask, labeled text with its labels, and tasks"""
    notes: tuple[EncodableText, ...] = ()
    doubts: tuple[EncodableText, ...] = ()
    """why accuracy on these windows says little, by the original's own outputs: a line each"""
    tasks: dict[str, Direction] = {}
    """every task's figures, ``task.metric`` as in the rows' measures, and which way is better"""
    rows: tuple[Row, ...]

    @property
    def original(self) -> Row:
        """The checkpoint in torch."""
        return self.rows[0]

    @property
    def float_export(self) -> Row | None:
        """The float ONNX baseline."""
        return next((row for row in self.rows if row.role == "float"), None)

    @property
    def contended_share(self) -> float:
        """Share of our threads' time that other programs may have used; 0 on a machine that was idle enough."""
        return min(1.0, self.others / self.threads) if self.others > BUSY else 0.0

    @property
    def read(self) -> str:
        """Description of the evaluation data."""
        count, length = self.windows
        return f"{count} images" if self.kind.is_vision else f"{count} windows of {length} tokens"

    def row(self, name: str) -> Row:
        """The row of that name."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    def at(self, length: int, batch: int) -> Scorecard:
        """The card with each row's figures at one length and batch size."""
        measures = [
            next((cell.measures for cell in row.cells if (cell.length, cell.batch) == (length, batch)), {})
            for row in self.rows
        ]
        rows = tuple(row.model_copy(update={"measures": at}) for row, at in zip(self.rows, measures, strict=True))
        return self.model_copy(update={"rows": rows})


def ratio(row: Row, base: Row, key: str) -> Measure | None:
    """Ratio of ``row`` to ``base``: the median over launches, each against the one that ran next to it.

    None where either lacks the metric.
    """
    mine, other = row.measures.get(key), base.measures.get(key)
    if mine is None or other is None:
        return None
    if mine.launches and len(mine.launches) == len(other.launches) and all(other.medians):
        return summarize([[a / b] for a, b in zip(mine.medians, other.medians, strict=True)])
    if not other.value:
        return None
    times = mine.value / other.value
    return summarize([[times]]) if mine.launches or other.launches else Measure(value=times)
