"""Pictures ``accuracy-size`` and ``accuracy-speed``: Pareto fronts of accuracy against a cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from compress.benchmarks.plots.base import Draw, Suffix, add_caption, add_legend, few, picture
from compress.benchmarks.plots.labels import label_points
from compress.benchmarks.results.overview import ReportRow, report_rows, run_names
from compress.benchmarks.results.scorecard import Scorecard, ratio

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAMED = 12
"""contenders beyond which only those on a front are named, and runs beyond which they aren't either"""
_COLORS = 10
"""length of matplotlib's color cycle: the next run begins it anew"""


@dataclass(frozen=True)
class CostAxis:
    """Horizontal axis of a Pareto front: a cost as a ratio to the original's."""

    name: str
    label: str
    subject: str
    gain: str
    metrics: tuple[str, ...]
    """the first of these that a contender has"""
    better: Literal["higher", "lower"]


COSTS = (
    CostAxis("accuracy-size", "size on disk, × original", "size on disk", "small", ("disk_bytes",), "lower"),
    CostAxis(
        "accuracy-speed",
        "speed, × original (decoding, sentences, images)",
        "speed",
        "fast",
        ("decode_tps", "sentences_ps", "images_ps"),
        "higher",
    ),
)


@dataclass(frozen=True)
class Point:
    """A contender in the picture: its cost as a ratio to the original's, and its accuracy retention."""

    name: str
    cost: float
    accuracy: float
    error: float
    role: str


def front(points: Sequence[Point], better: Literal["higher", "lower"]) -> list[Point]:
    """Pareto front: points that none beats in accuracy without losing in cost, by falling accuracy."""
    sign = 1 if better == "lower" else -1
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (-p.accuracy, sign * p.cost)):
        if not best or sign * point.cost < sign * best[-1].cost:
            best.append(point)
    return best


def points_of(card: Scorecard, cost: CostAxis) -> list[Point]:
    """Points of a card: contenders whose accuracy and cost were both measured."""
    points = (_point(line, cost) for line in report_rows([card]))
    return [point for point in points if point is not None]


def draw_front(cost: CostAxis, cards: Sequence[Scorecard], suffix: Suffix) -> bytes | None:
    """Draw every run's contenders and front; None where nothing was measured."""
    runs, names = [points_of(card, cost) for card in cards], run_names(cards)
    drawn = sum(map(len, runs))
    if not drawn:
        return None

    def fill(figure: Figure) -> None:
        axes, labeled = figure.subplots(), []
        marks: dict[tuple[str, bool, bool], list[Point]] = {}  # what looks alike is drawn at once: runs may be many
        for i, points in enumerate(runs):
            best, color = front(points, cost.better), f"C{i % _COLORS}"
            label = few([names[i]]) if i < _NAMED else None
            _draw_front(axes, best, color, label)
            for point in points:
                marks.setdefault((color, point.role == "variant", point in best), []).append(point)
            if drawn <= _NAMED:
                labeled += points
            elif i < _NAMED:
                labeled += best
        for (color, variant, filled), group in marks.items():
            _draw_points(axes, group, color, "o" if variant else "s", filled)
        _label(figure, axes, cost, several=len(cards) > 1)
        label_points(figure, axes, [(point.name, point.cost, point.accuracy) for point in labeled])

    return picture(cost.name, suffix, fill)


def _point(line: ReportRow, cost: CostAxis) -> Point | None:
    accuracy = line.row.measures.get("retention")
    times = next((times for key in cost.metrics if (times := ratio(line.row, line.card.original, key))), None)
    if accuracy is None or times is None:
        return None
    return Point(line.row.name, times.value, accuracy.value, accuracy.spread or 0.0, line.row.role)


def _draw_front(axes: Axes, best: Sequence[Point], color: str, label: str | None) -> None:
    axes.plot(
        [p.cost for p in best],
        [p.accuracy for p in best],
        color=color,
        linewidth=1.2,
        drawstyle="steps-pre",
        label=label,
    )


def _draw_points(axes: Axes, group: Sequence[Point], color: str, marker: str, filled: bool) -> None:
    axes.errorbar(
        [p.cost for p in group],
        [p.accuracy for p in group],
        yerr=[p.error for p in group],
        color=color,
        linestyle="",
        marker=marker,
        markerfacecolor=color if filled else "none",
        markersize=5,
        elinewidth=0.8,
    )


def _label(figure: Figure, axes: Axes, cost: CostAxis, several: bool) -> None:
    axes.set_xlabel(cost.label)
    axes.set_ylabel("accuracy retention")
    axes.grid(alpha=0.3)
    axes.margins(x=0.15, y=0.1)  # room for names beside their points
    if several:
        add_legend(figure)
    add_caption(
        figure,
        f"Accuracy retention against {cost.subject} of each variant (circle), and of the original and its float export "
        f"(squares). Filled, on the line: nothing else is both as accurate and as {cost.gain}. Bars are the spread of "
        "retention over windows of the evaluation text.",
    )


PICTURES: dict[str, Draw] = {cost.name: partial(draw_front, cost) for cost in COSTS}
