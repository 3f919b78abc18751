"""Findings of a run: regressions, passes without benefit, and noise."""

from __future__ import annotations

import math
from collections.abc import Mapping

from compress.benchmarks.results.effects import effects
from compress.benchmarks.results.kinds import PLANS
from compress.benchmarks.results.metrics import metric
from compress.benchmarks.results.scorecard import Row, Scorecard, ratio
from compress.benchmarks.results.significant import times_text
from compress.benchmarks.results.table import setting
from compress.benchmarks.statistics.interval import half_width, interval
from compress.benchmarks.statistics.measure import Measure
from compress.modeling.kinds import TaskKind

_SPEED = {
    "decode_tps": "decoding",
    "prefill_tps": "prefill",
    "latency_p50": "a single sentence or image",
    "sentences_ps": "a batch of sentences",
    "images_ps": "a batch of images",
}
_SIZES = {"disk_bytes": "on disk", "peak_rss": "in memory while serving"}
_LEAST = 0.02
"""differences below this aren't worth a line"""
_NOISY = 0.10
_PERPLEXITY = 1.05
_DIVERGED = 0.05
"""nats a token: as far from the original as a perplexity that is so much larger"""
_COSINE = 0.99
_CENTERED = 0.95
_SAME_TOKEN = 0.90
_SAME_CLASS = 0.99


def findings(card: Scorecard) -> list[str]:
    """A line for every regression against the float export beyond the noise, and for noise itself."""
    lines = [*_noise(card), *doubts(card)]
    at = {setting(*cell): card.at(*cell) for cell in card.settings.cells}
    for row in card.rows:
        if row.role != "variant":
            continue
        base = card.float_export or card.original
        if row.unchanged:
            lines.append(f"{row.name} changed nothing: it is byte for byte the float export")
            continue
        worse = _slower(row, base) + _larger(row, base) + _slower_at(at, card.kind, row, base)
        lines += worse + _idle(row, bool(worse)) + _less_accurate(row)
    return lines + _no_help(card)


def doubts(card: Scorecard) -> list[str]:
    """Lines on why a run's figures of accuracy say little."""
    return [f"DOUBTFUL accuracy: {doubt}; give other data with --eval" for doubt in card.doubts]


def _no_help(card: Scorecard) -> list[str]:
    """Passes without which a variant would be no worse."""
    return [
        f"{effect.applied.text} has no measurable benefit in {effect.row.name} (compared with {effect.without.name})"
        for effect in effects(card)
        if effect.without.role == "variant" and not effect.helped and not effect.row.unchanged
    ]


def _idle(row: Row, worse: bool) -> list[str]:
    """Zeros and products of a variant that its runtime doesn't benefit from."""
    lines = []
    if row.zeros:
        lines.append(f"{row.name} has zeros that bring no speedup and no size reduction on {row.engine}")
    if row.products and worse:
        lines.append(f"{row.name} multiplies part by part: two thin products, where the original has one matrix")
    return lines


def beyond_noise(change: Measure, worse: bool) -> bool:
    """Whether a ratio's whole 95 % interval lies on the side of worse, and the ratio by more than 2 %."""
    low, high = interval(change)
    return (low > 1 and change.value > 1 + _LEAST) if worse else (high < 1 and change.value < 1 - _LEAST)


def _slower(row: Row, base: Row) -> list[str]:
    return [
        f"{row.name} is SLOWER than {base.name} at {work}: {times_text(pace)} its speed"
        for key, work in _SPEED.items()
        if (pace := _slower_pace(row, base, key)) is not None
    ]


def _slower_pace(row: Row, base: Row, key: str) -> float | None:
    """Speed over the base's, where slower beyond the noise; else None."""
    change = ratio(row, base, key)
    if change is None or not beyond_noise(change, worse=metric(key).better == "lower"):
        return None
    return change.value if metric(key).better == "higher" else 1 / change.value


def _slower_at(cards: Mapping[str, Scorecard], kind: TaskKind, row: Row, base: Row) -> list[str]:
    """A line for each kind of work with the lengths and batches at which it is slower; ``cards`` has each setting's."""
    lines = []
    for key, work in PLANS[kind].paces.items():
        paces = {at: _slower_pace(card.row(row.name), card.row(base.name), key) for at, card in cards.items()}
        slower = {at: pace for at, pace in paces.items() if pace is not None}
        if slower:
            worst = min(slower.values())
            lines.append(
                f"{row.name} is SLOWER than {base.name} at {work} with {', '.join(slower)}: "
                f"{times_text(worst)} its speed{' at worst' if len(slower) > 1 else ''}"
            )
    return lines


def _larger(row: Row, base: Row) -> list[str]:
    lines = []
    for key, where in _SIZES.items():
        change = ratio(row, base, key)
        if change is not None and change.value > 1 + _LEAST:
            lines.append(f"{row.name} is LARGER than {base.name} {where}: {times_text(change.value)}")
    return lines


def _less_accurate(row: Row) -> list[str]:
    """A line with every figure by which a variant is less accurate than the original, beyond what is usual."""
    figures = {key: measure.value for key, measure in row.measures.items()}
    by_token = "perplexity_ratio" in figures
    reasons = []
    if (lost := figures.get("perplexity_ratio", 1.0)) > _PERPLEXITY:
        reasons.append(f"perplexity is {lost:.3f}× the original's")
    right = row.measures.get("accuracy_ratio")
    if right is not None and interval(right)[1] < 1:
        reasons.append(f"it is right {right.value:.3f}× as often as the original")
    if (divergence := figures.get("kl", 0.0)) > _DIVERGED:
        reasons.append(f"KL to the original is {divergence:.3g} nats")
    if (same := figures.get("top1", 1.0)) < (_SAME_TOKEN if by_token else _SAME_CLASS) and right is None:
        predicted = "next token at {:.1%} of all places" if by_token else "class in {:.1%} of all cases"
        reasons.append(f"it predicts the original's {predicted.format(same)}")
    if (similarity := figures.get("cosine", 1.0)) < _COSINE:
        reasons.append(f"cosine to the original's embeddings is {similarity:.4f}")
    if (centered := figures.get("cosine_centered", 1.0)) < _CENTERED:
        reasons.append(f"less what all sentences share, cosine to the original's embeddings is {centered:.4f}")
    return [f"{row.name} LOSES ACCURACY: {', '.join(reasons)}"] if reasons else []


def _noise(card: Scorecard) -> list[str]:
    lines = []
    if card.contended_share:
        lines.append(
            f"BUSY machine: other programs kept {card.others:.1f} cores busy while speed was measured; "
            "don't trust the speeds, measure again on an idle machine"
        )
    for row in card.rows:
        for key, work in _SPEED.items():
            measure = row.measures.get(key)
            if measure is not None and measure.value and (measure.spread or 0.0) > _NOISY * measure.value:
                swing = (measure.spread or 0.0) / measure.value
                of = "launches" if len(measure.launches) > 1 else "rounds"
                lines.append(f"NOISY run: {row.name}: {work} varies by ±{swing:.0%} between {of}")
    return [*lines, *_imprecise(card)]


def _imprecise(card: Scorecard) -> list[str]:
    """A line where a ratio of speed to the original is known less precisely than was aimed at."""
    key = PLANS[card.kind].speed
    ratios = [ratio(row, card.original, key) for row in card.rows[1:]]
    measured = [times for times in ratios if times is not None]
    if not measured:
        return []
    launches = min(len(times.launches) for times in measured)
    if launches < 2:
        return ["UNKNOWN precision of speeds: one launch a contender tells nothing of it; --launches N takes more"]
    half = max(half_width(interval(times)) for times in measured)
    if half <= card.settings.precision or math.isinf(half):
        return []
    needed = math.ceil(launches * (half / card.settings.precision) ** 2)
    return [
        f"IMPRECISE speeds: after {launches} launches a contender, ratios of {_SPEED[key]} are known to ±{half:.0%}, "
        f"not to ±{card.settings.precision:.0%}; some {needed} would do (--launches N)"
    ]
