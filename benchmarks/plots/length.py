"""Pictures ``latency-length`` and ``fusion-length``: latency and the speedup of graph passes by length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from compress.benchmarks.plots.base import Draw, Suffix, add_caption, add_legend, few, picture
from compress.benchmarks.results.fusion_gain import gains
from compress.benchmarks.results.kinds import PLANS
from compress.benchmarks.results.metrics import metric
from compress.benchmarks.results.overview import run_prefixes
from compress.benchmarks.results.scorecard import Scorecard
from compress.benchmarks.statistics.measure import Measure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LATENCY, _GAIN = "latency-length", "fusion-length"
_LATENCIES = ("ttft", "itl_p50", "latency_p50")
_STYLES = ("-", "--", ":", "-.")


@dataclass
class _Curve:
    """One line of a panel: its label, its batch size, and the figure at every length."""

    label: str
    batch: int
    points: list[tuple[int, Measure]] = field(default_factory=list)


def _draw_latency(cards: Sequence[Scorecard], suffix: Suffix) -> bytes | None:
    """Draw latency against length, a panel for each kind of it; None with fewer than two lengths."""
    panels = {metric(key).heading: _curves(_latencies(cards, key)) for key in _LATENCIES}
    caption = (
        "Latency by length of the text, medians of all rounds with half their interquartile range; both axes are "
        "logarithmic."
    )
    return _draw(_LATENCY, panels, suffix, caption, logarithmic=True)


def _draw_gains(cards: Sequence[Scorecard], suffix: Suffix) -> bytes | None:
    """Draw the speedup of graph passes against length; None with fewer than two lengths."""
    works = {key: work for plan in PLANS.values() for key, work in plan.paces.items()}
    panels = {f"{work}, × without the pass": _curves(_gains(cards, key)) for key, work in works.items()}
    caption = "Times as fast as the same integers in a graph without the pass, by length of the text."
    return _draw(_GAIN, panels, suffix, caption, logarithmic=False)


def _latencies(cards: Sequence[Scorecard], key: str) -> Iterable[tuple[str, int, int, Measure]]:
    for prefix, card in zip(run_prefixes(cards), cards, strict=True):
        for row in card.rows:
            for cell in row.cells:
                if measure := cell.measures.get(key):
                    scale = metric(key).scale
                    shown = Measure(value=measure.value * scale, spread=(measure.spread or 0.0) * scale)
                    yield prefix + row.name, cell.length, cell.batch, shown


def _gains(cards: Sequence[Scorecard], key: str) -> Iterable[tuple[str, int, int, Measure]]:
    for prefix, card in zip(run_prefixes(cards), cards, strict=True):
        for gain in gains(card):
            if measure := gain.times.get(key):
                yield f"{prefix}{gain.row} / {gain.without}", gain.length, gain.batch, measure


def _curves(figures: Iterable[tuple[str, int, int, Measure]]) -> list[_Curve]:
    """Group figures by label and batch; those at a single length make no line."""
    curves: dict[tuple[str, int], _Curve] = {}
    for label, length, batch, figure in figures:
        curves.setdefault((label, batch), _Curve(label, batch)).points.append((length, figure))
    for curve in curves.values():
        curve.points.sort(key=lambda point: point[0])
    return [curve for curve in curves.values() if len(curve.points) > 1]


def _draw(name: str, panels: dict[str, list[_Curve]], suffix: Suffix, caption: str, logarithmic: bool) -> bytes | None:
    drawn = {title: curves for title, curves in panels.items() if curves}
    if not drawn:
        return None
    labels = list(dict.fromkeys(curve.label for curves in drawn.values() for curve in curves))
    batches = sorted({curve.batch for curves in drawn.values() for curve in curves})

    def fill(figure: Figure) -> None:
        every = figure.subplots(1, len(drawn), squeeze=False)[0]
        for axes, (title, curves) in zip(every, drawn.items(), strict=True):
            for curve in curves:
                _plot(axes, curve, f"C{labels.index(curve.label)}", _style(batches, curve.batch))
            _label(axes, title, curves, logarithmic)
        for i, label in enumerate(labels):
            every[0].plot([], [], color=f"C{i}", label=few([label]))
        for batch in batches if len(batches) > 1 else ():
            every[0].plot([], [], color="grey", linestyle=_style(batches, batch), label=f"batch {batch}")
        add_legend(figure)
        add_caption(figure, caption)

    return picture(name, suffix, fill)


def _style(batches: Sequence[int], batch: int) -> str:
    return _STYLES[batches.index(batch) % len(_STYLES)]


def _plot(axes: Axes, curve: _Curve, color: str, style: str) -> None:
    lengths, figures = zip(*curve.points, strict=True)
    axes.errorbar(
        lengths,
        [figure.value for figure in figures],
        yerr=[figure.spread or 0.0 for figure in figures],
        color=color,
        linestyle=style,
        marker="o",
        markersize=4,
        linewidth=1.2,
        elinewidth=0.8,
    )


def _label(axes: Axes, title: str, curves: Sequence[_Curve], logarithmic: bool) -> None:
    from matplotlib.ticker import NullLocator, StrMethodFormatter

    lengths = sorted({length for curve in curves for length, _ in curve.points})
    axes.set_xscale("log", base=2)
    axes.set_xticks(lengths, [str(length) for length in lengths])
    axes.xaxis.set_minor_locator(NullLocator())
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    else:
        axes.axhline(1, color="grey", linewidth=0.8)
    axes.set_xlabel("tokens")
    axes.set_ylabel(title)
    axes.grid(alpha=0.3)


PICTURES: dict[str, Draw] = {_LATENCY: _draw_latency, _GAIN: _draw_gains}
