"""Parse requirements and tolerances: ``retention>=0.98, decode_speedup>=1.5, peak_rss<2GB``."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, cast

from compress.benchmarks.results.metrics import METRICS, Metric, Unit, metric, metrics, task_metric
from compress.benchmarks.results.scorecard import Row, ratio
from compress.benchmarks.statistics.estimators import paired_ratio
from compress.benchmarks.statistics.measure import Measure
from compress.errors import UsageError, unknown
from compress.modeling.kinds import TaskKind

Operator = Literal[">=", "<=", ">", "<"]

METRIC_ALIASES: dict[str, tuple[str, bool]] = {
    "bytes": ("disk_bytes", False),
    "decode_speedup": ("decode_tps", True),
    "prefill_speedup": ("prefill_tps", True),
    "batch_speedup": ("sentences_ps", True),
    "image_speedup": ("images_ps", True),
}
"""Other names of metrics, and whether they mean the ratio to the original's."""
_PAIRED = {
    "perplexity": "perplexity_ratio",
    "perplexity_ratio": "perplexity_ratio",
    "accuracy": "accuracy_ratio",
    "accuracy_ratio": "accuracy_ratio",
}
"""Metrics whose ratio to the original is a metric of its own, which is surer: window by window."""
_UNITS: dict[Unit, dict[str, float]] = {
    "bytes": {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30},
    "seconds": {"s": 1, "ms": 1e-3},
    "share": {"": 1, "%": 1e-2},
    "number": {"": 1},
}
_TIMES = "x"
_OF_TASK = "."
"""between a task and its metric; no other metric's name has one"""
_REQUIREMENT = re.compile(r"([A-Za-z_][\w.-]*)\s*(>=|<=|>|<)\s*(\d+\.?\d*(?:e[+-]?\d+)?|\.\d+)\s*([A-Za-z%]*)")
_TOLERANCE = re.compile(r"([A-Za-z_][\w.-]*)\s*=\s*(\d+\.?\d*|\.\d+)\s*(%?)")


@dataclass(frozen=True)
class Figure:
    """A metric of a variant, or (``relative``) its ratio to the original's."""

    name: str
    metric: Metric
    relative: bool

    @classmethod
    def named(cls, name: str) -> Figure:
        """The figure of that name; a UsageError with the nearest one where there is none."""
        if _OF_TASK in name:
            return cls(name, task_metric(name), relative=False)
        names = {metric.key: (metric.key, False) for metric in METRICS} | METRIC_ALIASES
        if name not in names:
            raise unknown("metric", name, names)
        key, relative = names[name]
        return cls(name, metric(key), relative)

    def of(self, row: Row, original: Row) -> Measure | None:
        """The figure of a row; None where it wasn't measured."""
        key = self.metric.key
        if self.relative and _OF_TASK in key:
            mine, other = row.measures.get(key), original.measures.get(key)
            return None if mine is None or other is None else paired_ratio(mine, other)
        return ratio(row, original, key) if self.relative else row.measures.get(key)

    def shown(self, measure: Measure) -> str:
        """The figure as a table shows it."""
        if self.relative:
            return f"{measure.value:.3g}×"
        return " ".join(filter(None, [self.metric.shown(measure), self.metric.unit_shown]))


@dataclass(frozen=True)
class Requirement:
    """A bound on a figure, in the unit that the figure is stored in."""

    figure: Figure
    operator: Operator
    bound: float
    text: str

    @property
    def at_least(self) -> bool:
        """Whether more is better."""
        return self.operator[0] == ">"

    @property
    def strict(self) -> bool:
        """Whether the bound itself fails."""
        return "=" not in self.operator


@dataclass(frozen=True)
class Tolerance:
    """The share of its last value by which a figure may worsen."""

    figure: Figure
    share: float
    text: str


def parse_requirements(texts: Sequence[str]) -> tuple[Requirement, ...]:
    """Parse requirements, separated by commas.

    Raises UsageError for what is none, an unknown metric, a unit that isn't the metric's, and a contradiction.
    """
    requirements = tuple(_requirement(part) for part in _parts(texts, "requirement", "decode_speedup>=1.5"))
    for low, high in product(requirements, requirements):
        same = (low.figure.metric.key, low.figure.relative) == (high.figure.metric.key, high.figure.relative)
        if same and low.at_least and not high.at_least:
            strict = low.strict or high.strict
            if low.bound > high.bound or (strict and low.bound == high.bound):
                raise UsageError(f"nothing can meet both {low.text} and {high.text}; drop one of them")
    return requirements


def parse_tolerances(texts: Sequence[str]) -> tuple[Tolerance, ...]:
    """Parse tolerances, separated by commas: ``perplexity=1%, decode_tps=5%``; a UsageError for what is none."""
    tolerances: dict[str, Tolerance] = {}
    for part in _parts(texts, "tolerance", "perplexity=1%"):
        match = _TOLERANCE.fullmatch(part)
        if match is None:
            raise UsageError(f"tolerance {part!r} isn't a metric, = and a percentage, like perplexity=1%")
        name, number, percent = match.groups()
        figure = Figure.named(name)
        if not percent:
            raise UsageError(f"tolerance {part!r} needs a %: by how much of its last value {name} may be worse")
        share = float(number) / 100
        if not math.isfinite(share) or (figure.metric.better == "higher" and share >= 1):
            raise UsageError(f"tolerance {part!r} tolerates everything; give less than 100%")
        if name in tolerances:
            raise UsageError(
                f"{name} has two tolerances, {tolerances[name].text} and {_packed(part)}; drop one of them"
            )
        tolerances[name] = Tolerance(figure, share, _packed(part))
    return tuple(tolerances.values())


def check_kind(figures: Sequence[Figure], kind: TaskKind) -> None:
    """Refuse, with a UsageError, metrics that a kind of model doesn't have."""
    for figure in figures:
        if kind not in figure.metric.kinds:
            names = ", ".join(metric.key for metric in metrics(kind))
            raise UsageError(f"{figure.name} is no metric of {kind}s; theirs are {names}")


def check_labeled(figures: Sequence[Figure], measured: Sequence[str]) -> None:
    """Refuse, with a UsageError, metrics of labeled text that aren't among those which will be measured."""
    for figure in figures:
        if figure.metric.labeled and figure.metric.key not in measured:
            hint = f"the labels given say {' and '.join(measured)}" if measured else "give --labels FILE"
            raise UsageError(f"{figure.name} takes labeled text; {hint}")


def check_tasks(figures: Sequence[Figure], measured: Collection[str]) -> None:
    """Refuse, with a UsageError, figures of tasks that aren't among those which will be measured."""
    for figure in figures:
        if _OF_TASK in figure.name and figure.name not in measured:
            if not measured:
                raise UsageError(f"{figure.name} is a task's; give --tasks {figure.name.partition(_OF_TASK)[0]}")
            raise unknown("metric of a task", figure.name, measured)


def _parts(texts: Sequence[str], noun: str, example: str) -> Iterator[str]:
    for text in texts:
        parts = [part.strip() for part in text.split(",")]
        if not all(parts):
            raise UsageError(f"{text!r} has an empty {noun}; write them like {example}, separated by commas")
        yield from parts


def _packed(text: str) -> str:
    return "".join(text.split())


def _requirement(part: str) -> Requirement:
    match = _REQUIREMENT.fullmatch(part)
    if match is None:
        raise UsageError(
            f"requirement {part!r} isn't a metric, one of >= <= > < and a number with its unit, like peak_rss<2GB"
        )
    name, operator, number, unit = match.groups()
    text = _packed(part)
    figure, scale = _in_unit(Figure.named(name), unit, text)
    bound = float(number) * scale
    if not math.isfinite(bound):
        raise UsageError(f"{text}: no {name} is as large; give a smaller number")
    if figure.metric.unit == "share" and not figure.relative and bound > 1:
        raise UsageError(f"{text}: {name} is a share between 0 and 1; write 0.98 or 98%")
    return Requirement(figure, cast(Operator, operator), bound, text)


def _in_unit(figure: Figure, unit: str, text: str) -> tuple[Figure, float]:
    """The figure that a metric and a unit mean, and the factor for the number."""
    name, key = figure.name, figure.metric.key
    if figure.relative:
        units = {"": 1.0, _TIMES: 1.0}
    elif unit == _TIMES and key in _PAIRED:
        return Figure(name, metric(_PAIRED[key]), relative=False), 1.0
    elif unit == _TIMES and (figure.metric.compared or _OF_TASK in key):
        return Figure(name, figure.metric, relative=True), 1.0
    else:
        units = _UNITS[figure.metric.unit]
    if unit not in units:
        symbols = [symbol or "no unit" for symbol in units]
        if not figure.relative and (figure.metric.compared or key in _PAIRED or _OF_TASK in key):
            symbols.append(f"{_TIMES} (times the original's)")
        raise UsageError(f"{text}: {name} takes {', '.join(symbols)}, not {unit or 'a bare number'!r}")
    return figure, units[unit]
