"""Speedup of graph passes by length and batch: variants against those without that pass."""

from __future__ import annotations

from dataclasses import dataclass

from compress.benchmarks.results.effects import effects, times_shown
from compress.benchmarks.results.kinds import PLANS
from compress.benchmarks.results.scorecard import Scorecard
from compress.benchmarks.results.table import setting
from compress.benchmarks.statistics.measure import Measure


@dataclass(frozen=True)
class Gain:
    """Speedups of the variant ``row`` over the one ``without`` a graph pass, by metric."""

    applied: str
    row: str
    without: str
    length: int
    batch: int
    times: dict[str, Measure]


def gains(card: Scorecard) -> list[Gain]:
    """Gains of every graph pass at every length and batch whose counterpart without it is in the card."""
    return [
        Gain(effect.applied.text, effect.row.name, effect.without.name, length, batch, times)
        for length, batch in card.settings.cells
        for effect in effects(card.at(length, batch))
        if effect.applied.graph
        and (times := {key: effect.times[key] for key in PLANS[card.kind].paces if key in effect.times})
    ]


def gain_table(card: Scorecard) -> tuple[list[str], list[list[str]]]:
    """Headers and rows, pass by pass: the speedup of each pace."""
    paces = PLANS[card.kind].paces
    rows = [
        [
            gained.applied,
            gained.row,
            gained.without,
            setting(gained.length, gained.batch),
            *(times_shown(gained.times[key]) if key in gained.times else "–" for key in paces),
        ]
        for gained in sorted(gains(card), key=lambda gain: (gain.row, gain.without, gain.batch))
    ]
    return ["pass", "in", "against", "at", *paces.values()], rows
