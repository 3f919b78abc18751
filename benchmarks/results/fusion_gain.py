"""What other operators bring at every length and batch: variants against those that lack a graph pass alone."""

from __future__ import annotations

from dataclasses import dataclass

from compress.benchmarks.results.effects import effects, times_shown
from compress.benchmarks.results.kinds import PLANS
from compress.benchmarks.results.scorecard import Scorecard
from compress.benchmarks.results.table import setting
from compress.benchmarks.statistics.measure import Measure


@dataclass(frozen=True)
class Gain:
    """How many times as fast the variant ``row`` is with a pass as ``without`` it, by what is compared."""

    applied: str
    row: str
    without: str
    length: int
    batch: int
    times: dict[str, Measure]


def gains(card: Scorecard) -> list[Gain]:
    """Every graph pass at every length and batch, where the card has the counterpart without it."""
    return [
        Gain(each.applied.text, each.row.name, each.without.name, length, batch, times)
        for length, batch in card.settings.cells
        for each in effects(card.at(length, batch))
        if each.applied.graph
        and (times := {key: each.times[key] for key in PLANS[card.kind].paces if key in each.times})
    ]


def gain_table(card: Scorecard) -> tuple[list[str], list[list[str]]]:
    """Headers and rows, pass by pass: how many times as fast each pace is with it."""
    paces = PLANS[card.kind].paces
    rows = [
        [each.applied, each.row, each.without, setting(each.length, each.batch),
         *(times_shown(each.times[key]) if key in each.times else "–" for key in paces)]
        for each in sorted(gains(card), key=lambda gain: (gain.row, gain.without, gain.batch))
    ]  # fmt: skip
    return ["pass", "in", "against", "at", *paces.values()], rows
