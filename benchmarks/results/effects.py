"""Ablation: a variant against the same one without one pass, in the same run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compress.benchmarks.results.contender import Applied
from compress.benchmarks.results.kinds import ACCURACY, PLANS, SIZE
from compress.benchmarks.results.metrics import metric
from compress.benchmarks.results.scorecard import Row, Scorecard, ratio
from compress.benchmarks.results.significant import times_text
from compress.benchmarks.statistics.estimators import paired_ratio
from compress.benchmarks.statistics.interval import is_resolved
from compress.benchmarks.statistics.measure import Measure
from compress.modeling.kinds import TaskKind

_WORTH = 1.02
_GAINS = (1.05, 1.5, 2.5, 4.0)
"""factors from which a gain has 2, 3, 4, 5 stars"""
_KEPT = (0.90, 0.97, 0.99, 0.999)
"""the same for the share of accuracy that is kept"""


@dataclass(frozen=True)
class Effect:
    """Effect of one pass: the variant ``row`` against ``without`` it, with the ratio of each metric."""

    row: Row
    applied: Applied
    without: Row
    times: dict[str, Measure]

    def gain(self, key: str) -> float | None:
        """Factor by which a metric improved; None where it wasn't measured."""
        if key not in self.times or not self.times[key].value:
            return None
        value = self.times[key].value
        return value if metric(key).better == "higher" else 1 / value

    @property
    def helped(self) -> bool:
        """Whether anything improved beyond the noise and by more than 2 %; accuracy by anything."""
        return any(
            (self.gain(key) or 0) > (1 if key == ACCURACY else _WORTH) and is_resolved(times)
            for key, times in self.times.items()
        )


def effects(card: Scorecard) -> list[Effect]:
    """Effects of every pass whose counterpart without it, in the same runtime, is in the card; of a single pass, the
    float export."""
    rows = [row for row in card.rows if not row.unavailable]
    by_passes = {
        (row.engine, *(applied.text for applied in row.passes)): row for row in rows if row.role in ("float", "variant")
    }
    effects = []
    for row in rows:
        texts = tuple(applied.text for applied in row.passes)
        for i, pass_ in enumerate(row.passes):
            without = by_passes.get((row.engine, *texts[:i], *texts[i + 1 :]))
            if without is not None:
                effects.append(Effect(row, pass_, without, _times(row, without, card.kind)))
    return effects


def effect_table(card: Scorecard) -> tuple[list[str], list[list[str]]]:
    """Headers and rows: the ratio of each figure to the one without a pass, and stars (`docs/metrics.md`)."""
    keys = PLANS[card.kind].compared
    names = [metric(key).heading.partition(",")[0] for key in keys]
    starred = [f"{quality} ★" for quality in ("latency", "memory", "accuracy", "difficulty")]
    rows = []
    for effect in effects(card):
        named = [effect.applied.text, effect.row.name, effect.without.name]
        rows.append([*named, *(_cell(effect, key) for key in keys), *stars(effect, card.kind)])
    return ["pass", "in", "against", *names, *starred], rows


def stars(effect: Effect, kind: TaskKind) -> list[str]:
    """One to five each for latency reduction, memory reduction, accuracy retention and difficulty; a dash for none."""
    accuracy = effect.times.get(ACCURACY)
    counts = (
        _count(effect.gain(PLANS[kind].speed), _GAINS),
        _count(effect.gain(SIZE), _GAINS),
        _count(accuracy.value if accuracy is not None else None, _KEPT),
        effect.applied.difficulty,
    )
    return ["★" * count or "–" for count in counts]


def _times(row: Row, without: Row, kind: TaskKind) -> dict[str, Measure]:
    ratios = {key: ratio(row, without, key) for key in PLANS[kind].compared if key != ACCURACY}
    if ACCURACY in row.measures and ACCURACY in without.measures:
        ratios[ACCURACY] = paired_ratio(row.measures[ACCURACY], without.measures[ACCURACY])
    return {key: times for key, times in ratios.items() if times is not None}


def times_shown(times: Measure, decimals: int = 2) -> str:
    """A ratio in words, with a mark where the measurement doesn't tell it from 1."""
    shown = times_text(times.value, decimals)
    return shown if is_resolved(times) else f"{shown} (unresolved)"


def _cell(effect: Effect, key: str) -> str:
    times = effect.times.get(key)
    return "–" if times is None else times_shown(times, 4 if key == ACCURACY else 2)


def _count(value: float | None, bounds: Sequence[float]) -> int:
    return 0 if value is None else 1 + sum(value >= bound for bound in bounds)
