"""Statistical verdicts on every variant: against requirements, and against a baseline report.

A figure passes or fails where its whole 95 % interval does; where the bound lies inside, the verdict is inconclusive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Literal

from compress.benchmarks.gate.requirement import Figure, Requirement, Tolerance, check_kind
from compress.benchmarks.results.metrics import metrics_of, task_metric
from compress.benchmarks.results.scorecard import Row, Scorecard
from compress.benchmarks.statistics.interval import interval, mean_interval, student
from compress.benchmarks.statistics.measure import Measure
from compress.errors import UsageError, unknown

Outcome = Literal["passed", "failed", "inconclusive"]


@dataclass(frozen=True)
class Verdict:
    """Verdict on one requirement of a variant; ``why`` says by how much, unless it simply passed."""

    model: str
    variant: str
    requirement: str
    measured: str
    outcome: Outcome
    why: str = ""

    def __str__(self) -> str:
        return f"{self.variant}: {self.requirement}: {self.measured}" + (f" ({self.why})" if self.why else "")


@dataclass(frozen=True)
class _Shortfall:
    """Distance of a figure beyond its bound, in the figure's unit, with its interval."""

    value: float
    low: float
    high: float

    def outcome(self, strict: bool = False) -> Outcome:
        """Outcome by where the interval lies; ``strict``: the bound itself fails."""
        if self.high < 0 or (self.high == 0 and not strict):
            return "passed"
        if self.low > 0 or (self.low == 0 and strict):
            return "failed"
        return "inconclusive"


def judge(card: Scorecard, requirements: Sequence[Requirement], names: Sequence[str] = ()) -> list[Verdict]:
    """Judge every variant of a card (or those of these ``names``) by every requirement.

    What a variant alone lacks counts as failed. Raises UsageError where there is no variant, or none of a name, or a
    figure that no variant has.
    """
    rows = _variants(card, names)
    _check([requirement.figure for requirement in requirements], card, rows)
    return [_required(card, row, requirement) for row in rows for requirement in requirements]


def compare_with_baseline(
    card: Scorecard,
    last: Scorecard,
    tolerances: Sequence[Tolerance],
    names: Sequence[str] = (),
    any_model: bool = False,
) -> list[Verdict]:
    """Judge by how much each figure worsened, for every variant in both cards (or those of these ``names``).

    Where both were evaluated on the same text, accuracy is compared window by window. Raises UsageError where the cards
    have nothing to compare, or are of other models, unless that is meant (``any_model``).
    """
    if not any_model and (difference := _other_model(card, last)):
        raise UsageError(f"{difference}; name a report of the same model, or pass --any-model to compare all the same")
    tolerances = [_directed(report, card) for report in tolerances]
    before = {row.name for row in _variants(last)}
    rows = [row for row in _variants(card, names) if row.name in before]
    if card.kind != last.kind or not rows:
        raise UsageError(f"no variant of {card.model} is in the baseline, a report of {last.model}: nothing to compare")
    for report in (card, last):
        _check([tolerance.figure for tolerance in tolerances], report, rows)
    return [_tolerated(card, last, row, tolerance) for row in rows for tolerance in tolerances]


def _other_model(card: Scorecard, last: Scorecard) -> str | None:
    """How a baseline's model is known to be another one; None for one that may be the same, of other weights.

    Models are known by the last part of their name, as a directory is elsewhere on another machine.
    """
    if card.kind != last.kind:
        return f"the baseline is a report of {last.model}, which is no {card.kind}"
    if card.model_sha256 and card.model_sha256 == last.model_sha256:
        return None
    if Path(card.model).name != Path(last.model).name:
        return f"the baseline is a report of {last.model}, not of {card.model}"
    sizes = [report.original.parameters for report in (card, last)]
    if sizes[0] != sizes[1]:
        return (
            f"the baseline is a report of another {last.model}: of {sizes[1]:,} parameters, where this has {sizes[0]:,}"
        )
    return None


def differences(card: Scorecard, last: Scorecard) -> list[str]:
    """Differences between two runs that weaken a comparison, a line each."""
    lines = []
    if (difference := _other_model(card, last)) is not None:
        lines.append(difference)
    if any(card.machine.get(fact) != last.machine.get(fact) for fact in ("processor", "cores")):
        lines.append("the baseline was measured on another machine: compare ratios like decode_speedup, not speeds")
    if not _same_text(card, last):
        lines.append("the baseline was evaluated on another text: accuracy can't be compared window by window")
    now, then = ({row.name for row in _variants(report)} for report in (card, last))
    if then - now:
        lines.append(f"the baseline also has {', '.join(sorted(then - now))}, which this report lacks")
    if now - then:
        lines.append(f"the baseline lacks {', '.join(sorted(now - then))}, so nothing is compared there")
    return lines


def _variants(card: Scorecard, names: Sequence[str] = ()) -> list[Row]:
    rows = {row.name: row for row in card.rows if row.role == "variant"}
    if not rows:
        raise UsageError(f"the report of {card.model} has no variants, so there is nothing to gate")
    every = {**dict.fromkeys(row.variant for row in rows.values()), **rows}
    if unknown_names := [name for name in names if name not in every]:
        raise unknown("variant", unknown_names[0], every)
    return [row for row in rows.values() if not names or row.name in names or row.variant in names]


def _check(figures: Sequence[Figure], card: Scorecard, rows: Sequence[Row]) -> None:
    check_kind(figures, card.kind)
    for figure in figures:
        if all(figure.of(card.row(row.name), card.original) is None for row in rows):
            measured = [metric.key for metric in metrics_of(card) if metric.key in rows[0].measures]
            raise UsageError(f"no variant of {card.model} has {figure.name}; measured were {', '.join(measured)}")


def _required(card: Scorecard, row: Row, requirement: Requirement) -> Verdict:
    figure = requirement.figure
    measure = figure.of(row, card.original)
    if measure is None:
        return Verdict(card.model, row.name, requirement.text, "–", "failed", "not measured")
    low, high = interval(measure, _contended_share(figure, card))
    if requirement.at_least:
        gap = _Shortfall(requirement.bound - measure.value, requirement.bound - high, requirement.bound - low)
    else:
        gap = _Shortfall(measure.value - requirement.bound, low - requirement.bound, high - requirement.bound)
    outcome = gap.outcome(requirement.strict)
    why = "" if outcome == "passed" else _by_how_much(gap, outcome, requirement.bound)
    if outcome == "inconclusive":
        why += _what_would_decide(gap, len(measure.windows), len(measure.launches))
    return Verdict(card.model, row.name, requirement.text, figure.shown(measure), outcome, why)


def _by_how_much(gap: _Shortfall, outcome: Outcome, bound: float) -> str:
    distance = f"{abs(gap.value) / bound:.2%}" if bound else f"{abs(gap.value):.3g}"
    if outcome == "failed":
        return f"missed by {distance}"
    return f"{'missed' if gap.value > 0 else 'met'} by {distance}, which is inside the noise"


def _what_would_decide(gap: _Shortfall, windows: int, launches: int) -> str:
    """Words on how many evaluation windows, or launches, would decide, if they scatter as these do; none for others.

    That many for which Student's t times the standard error is the distance from the bound.
    """
    half = gap.high - gap.value if gap.value < 0 else gap.value - gap.low
    count, things = (windows, "evaluation windows") if windows else (launches, "launches")
    if count < 1 or not gap.value:
        return ""
    if math.isinf(half):
        return f"; more {things} would tell"
    deviation = half / student(count - 1) * math.sqrt(count)
    needed = max(count + 1, math.ceil((student(0) * deviation / gap.value) ** 2))
    while student(needed - 1) * deviation / math.sqrt(needed) > abs(gap.value):
        needed += max(1, needed // 100)
    return f"; some {needed:,} {things} would decide"


def _directed(tolerance: Tolerance, card: Scorecard) -> Tolerance:
    """A tolerance with the direction of a task's figure, which the card records."""
    key = tolerance.figure.metric.key
    if key not in card.tasks:
        return tolerance
    return replace(tolerance, figure=replace(tolerance.figure, metric=task_metric(key, card.tasks[key])))


def _tolerated(card: Scorecard, last: Scorecard, row: Row, tolerance: Tolerance) -> Verdict:
    figure, before = tolerance.figure, last.row(row.name)
    requirement = f"{figure.name} at most {tolerance.share * 100:g}% worse"
    now, then = figure.of(row, card.original), figure.of(before, last.original)
    if now is None or then is None:
        return Verdict(card.model, row.name, requirement, "–", "failed", "not measured")
    contended = _contended_share(figure, card), _contended_share(figure, last)
    gap = _worsening(now, then, tolerance, _same_text(card, last), contended)
    outcome = gap.outcome()
    why = f"{now.value / then.value - 1:+.2%}" if then.value else "it was 0"
    if outcome == "inconclusive":
        same_windows = min(len(now.windows), len(then.windows)) if _same_text(card, last) else 0
        launches = min(len(now.launches), len(then.launches))
        why += ", which is inside the noise" + _what_would_decide(gap, same_windows, launches)
    shown = f"{figure.shown(now)}, was {figure.shown(then)}"
    return Verdict(card.model, row.name, requirement, shown, outcome, "" if outcome == "passed" else why)


def _worsening(
    now: Measure, then: Measure, tolerance: Tolerance, paired: bool, contended: tuple[float, float]
) -> _Shortfall:
    """Worsening of a figure beyond what is tolerated, with the shares of the machine that others used in both runs.

    Apart from windows of the same text, both figures are independent: their intervals combine as in Zou & Donner,
    "Construction of confidence limits about effect measures" (2008).
    """
    lower = tolerance.figure.metric.better == "lower"
    factor = 1 + tolerance.share if lower else 1 - tolerance.share
    sign = 1 if lower else -1
    value = sign * (now.value - factor * then.value)
    if paired and now.windows and then.windows:
        worse = [sign * (a - factor * b) for a, b in zip(now.windows, then.windows, strict=False)]  # the first of both
        value = value if len(now.windows) == len(then.windows) else fmean(worse)
        return _Shortfall(value, *mean_interval(worse))
    (low, high), (low_then, high_then) = interval(now, contended[0]), interval(then, contended[1])
    above = math.hypot(high - now.value, factor * (then.value - low_then))
    below = math.hypot(now.value - low, factor * (high_then - then.value))
    if not lower:
        above, below = below, above
    return _Shortfall(value, value - below, value + above)


def _contended_share(figure: Figure, card: Scorecard) -> float:
    """Share of the time that other programs used, where that changes a figure: sizes stay what they are."""
    return 0.0 if figure.metric.unit == "bytes" else card.contended_share


def _same_text(card: Scorecard, last: Scorecard) -> bool:
    return bool(card.text_sha256) and card.text_sha256 == last.text_sha256
