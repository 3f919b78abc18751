"""A sentence on each variant: how much smaller, how much faster, how much accuracy is left; the fastest runtime."""

from __future__ import annotations

from compress.benchmarks.results.kinds import ACCURACY, PLANS, SIZE
from compress.benchmarks.results.metrics import metric
from compress.benchmarks.results.runtimes import fastest_runtimes
from compress.benchmarks.results.scorecard import Row, Scorecard, ratio

_SAME = 0.005
"""what rounds to 1.00× isn't told as a difference"""
_APART = 0.01
"""retention that is so much less than the perplexity says has a cause that is worth a word"""


def sentences(card: Scorecard) -> list[str]:
    """A sentence on each variant, as in "int8: 3.7× smaller, decodes 3.1× as fast as onnx float, perplexity +0.4 %".

    Then one on each that was measured in several runtimes.
    """
    rows = [row for row in card.rows if row.role in ("variant", "peer")]
    return [*(f"{row.name}: {', '.join(_clauses(card, row))}" for row in rows), *fastest_runtimes(card)]


def _clauses(card: Scorecard, row: Row) -> list[str]:
    size = ratio(card.original, row, SIZE)
    clauses = [] if size is None else [_size(size.value)]
    if row.unavailable:
        return [*clauses, f"not measured, as it can't be run here: {row.unavailable}"]
    return [*clauses, *_speed(card, row), *_accuracy(row)]


def _size(times: float) -> str:
    """How many times smaller or larger, from the original's bytes over the variant's."""
    if abs(times - 1) < _SAME:
        return "as large"
    return f"{_digits(times)}× smaller" if times > 1 else f"{_digits(1 / times)}× larger"


def _speed(card: Scorecard, row: Row) -> list[str]:
    """How many times as fast as each baseline, the float export first."""
    plan = PLANS[card.kind]
    paces: list[str] = []
    for base in (card.float_export, card.original):
        times = None if base is None else ratio(row, base, plan.speed)
        if base is not None and times is not None and times.value:
            pace = times.value if metric(plan.speed).better == "higher" else 1 / times.value
            paces.append(f"{_digits(pace)}× as {'' if paces else 'fast as '}{base.name}")
    return [f"{plan.verb} {' and '.join(paces)}"] if paces else []


def _accuracy(row: Row) -> list[str]:
    figures = {key: measure.value for key, measure in row.measures.items()}
    clauses = []
    if (lost := figures.get("perplexity_ratio")) is not None:
        clauses.append(f"perplexity {_change(lost)}")
        if figures.get(ACCURACY, 1.0) < min(1 / lost, 1.0) - _APART:
            clauses.append(f"retention {figures[ACCURACY]:.3f} by KL")
    if (right := figures.get("accuracy_ratio")) is not None:
        clauses.append(f"accuracy {_change(right)}")
    if "perplexity_ratio" not in figures and (same := figures.get("top1")) is not None:
        clauses.append(f"the original's class in {100 * same:.3g} %")
    if (similarity := figures.get("cosine")) is not None:
        clauses.append(f"cosine {similarity:.4f}")
    if not clauses and ACCURACY in figures:
        clauses.append(f"retention {figures[ACCURACY]:.4f}")
    return clauses


def _digits(times: float) -> str:
    """Two digits, or three close to 1."""
    if times >= 10:
        return f"{times:,.0f}"
    return f"{times:.2f}" if 0.9 < times < 1.1 else f"{times:.2g}"


def _change(times: float) -> str:
    """A ratio as a change in percent."""
    percent = round(100 * (times - 1), 1) + 0.0  # no minus before zero
    return f"{percent:+.1f} %".replace("-", "−")
