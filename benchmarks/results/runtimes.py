"""Comparison of runtimes: which one is the fastest here for the integers of one variant."""

from __future__ import annotations

from collections.abc import Sequence

from compress.benchmarks.results.kinds import PLANS
from compress.benchmarks.results.metrics import metric
from compress.benchmarks.results.scorecard import Row, Scorecard, ratio
from compress.benchmarks.results.significant import times_text
from compress.benchmarks.statistics.interval import interval

_VERBS = {"prefill_tps": "reads prompts"}
"""What else a kind of model is fast at, beside the verb of its plan."""


def fastest_runtimes(card: Scorecard) -> list[str]:
    """A sentence for each variant that was measured in several runtimes; those that differ within noise are a tie."""
    groups: dict[str, list[Row]] = {}
    for row in card.rows:
        if row.role == "variant" and not row.unavailable:
            groups.setdefault(row.variant, []).append(row)
    return [
        f"{variant}, the same integers: {'; '.join(clauses)}"
        for variant, rows in groups.items()
        if (clauses := _clauses(card, rows))
    ]


def _clauses(card: Scorecard, rows: Sequence[Row]) -> list[str]:
    plan = PLANS[card.kind]
    clauses = []
    for key, verb in {plan.speed: plan.verb, **_VERBS}.items():
        ranked = sorted((row for row in rows if key in row.measures), key=lambda row: _pace(row, key), reverse=True)
        if len({row.engine for row in ranked}) > 1:
            clauses.append(f"{verb} {_compared(key, *ranked[:2])}")
    return clauses


def _pace(row: Row, key: str) -> float:
    value = row.measures[key].value
    return value if metric(key).better == "higher" else -value


def _compared(key: str, first: Row, second: Row) -> str:
    """The fastest against the next one."""
    fast, slow = (first, second) if metric(key).better == "higher" else (second, first)
    times = ratio(fast, slow, key)
    if times is None or interval(times)[0] <= 1:
        return f"as fast in {first.engine} as in {second.engine} here, as far as this run can tell"
    return f"fastest in {first.engine} here, {times_text(times.value)} as fast as in {second.engine}"
