"""What this project promises on its demo models: figures as data, checked against one interleaved run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compress.benchmarks.scorecard import Scorecard, ratio

ORIGINAL = "torch"
FLOAT = "onnx float"


@dataclass(frozen=True)
class Goal:
    """``variant``'s metric over ``base``'s is at least or at most a figure; without a base, the metric itself."""

    variant: str
    key: str
    at_least: float | None = None
    at_most: float | None = None
    base: str | None = None
    model: str = "smollm2"

    def __str__(self) -> str:
        compared = f" / {self.base}" if self.base else ""
        return f"{self.model}: {self.variant}: {self.key}{compared}"

    def bound(self) -> str:
        """The figure as written."""
        return f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"

    def measured(self, card: Scorecard) -> float:
        """The figure that a card holds."""
        row = card.row(self.variant)
        if self.base is None:
            return row.measures[self.key].value
        found = ratio(row, card.row(self.base), self.key)
        if found is None:
            raise KeyError(self.key)
        return found.value

    def met(self, value: float) -> bool:
        """Whether a figure is good enough."""
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)


@dataclass(frozen=True)
class Verdict:
    """A goal and what was measured."""

    goal: Goal
    value: float

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.goal.met(self.value)


DYNAMIC = "int8:act=dynamic,fuse"

GOALS = (
    Goal("int8,fuse", "decode_tps", at_least=2.0, base="fuse"),
    Goal("int8,fuse", "decode_tps", at_least=4.0, base=ORIGINAL),
    Goal("int8,fuse", "perplexity_ratio", at_most=1.01),
    Goal("int8,fuse", "disk_bytes", at_most=0.30, base=ORIGINAL),
    Goal("int8,fuse", "peak_rss", at_most=0.45, base=ORIGINAL),
    Goal("int8,fuse", "prefill_tps", at_least=0.65, base="fuse"),
    Goal(DYNAMIC, "prefill_tps", at_least=1.2, base="fuse"),
    Goal(DYNAMIC, "perplexity_ratio", at_most=1.05),
    Goal("fuse", "decode_tps", at_least=2.0, base=ORIGINAL),
    Goal("fuse", "nodes", at_most=341),
    Goal(FLOAT, "export_s", at_most=20.0),
    Goal("fuse", "latency_p50", at_most=0.45, base=ORIGINAL, model="minilm"),
    Goal("int8,fuse", "latency_p50", at_most=0.9, base="fuse", model="minilm"),
    Goal("int8,fuse", "cosine", at_least=0.995, model="minilm"),
)


def pipelines(model: str) -> list[str]:
    """The pipelines that a model's goals speak of, each once."""
    named = [name for goal in GOALS if goal.model == model for name in (goal.variant, goal.base)]
    return list(dict.fromkeys(name for name in named if name is not None and name not in (ORIGINAL, FLOAT)))


def judge(model: str, card: Scorecard) -> list[Verdict]:
    """Every goal of a model against its card."""
    return [Verdict(goal, goal.measured(card)) for goal in GOALS if goal.model == model]


def verdict_lines(verdicts: Sequence[Verdict]) -> list[str]:
    """One line a goal: name, measured, goal, met or missed."""
    width = max(len(str(verdict.goal)) for verdict in verdicts)
    return [
        f"{verdict.goal!s:<{width}}  {verdict.value:>9.4g}  {verdict.goal.bound():>8}  "
        f"{'met' if verdict.met else 'MISSED'}"
        for verdict in verdicts
    ]
