"""Repeatability of a score, and its overhead beside the measured work."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress.benchmarks.results.kinds import PLANS
from compress.benchmarks.results.metrics import metrics_of
from compress.benchmarks.results.phases import MEASURED
from compress.benchmarks.results.report_file import NAME, read_card
from compress.benchmarks.results.scorecard import Scorecard, ratio
from compress.benchmarks.statistics.measure import Measure
from compress.system.process import python_command, run_process

TIMES = 10
_NEAR = 0.05
"""how far from the middle a ratio may lie, as a share of it"""


@dataclass(frozen=True)
class Repeat:
    """One run of `compress score` on a single variant: its card, and the seconds of the whole process."""

    card: Scorecard
    seconds: float

    @property
    def ratio(self) -> float:
        """The variant's speed over the original's."""
        rows = [row for row in self.card.rows if row.role == "variant"]
        speedup = ratio(rows[0], self.card.original, PLANS[self.card.kind].speed)
        assert speedup is not None, "a speed is measured in every row"
        return speedup.value

    @property
    def overhead(self) -> float:
        """Overhead seconds a row, from starting Python until the report is written and printed."""
        besides = self.seconds - sum(self.card.seconds.get(phase, 0.0) for phase in MEASURED)
        return besides / len(self.card.rows)

    @property
    def accuracy(self) -> list[dict[str, Measure]]:
        """Each row's figures that depend on no clock and no memory."""
        keys = {measure.key for measure in metrics_of(self.card) if measure.unit not in ("bytes", "seconds")}
        return [
            {key: measure for key, measure in row.measures.items() if key in keys and not measure.launches}
            for row in self.card.rows
        ]


def measure_repeats(variant: Path, out: Path, times: int = TIMES) -> list[Repeat]:
    """Score a variant so many times beside its baselines, as a user does; a RunError where that fails."""
    command = python_command("compress", "score", variant, "-o", out)
    repeats = []
    for _ in range(times):
        begin = time.perf_counter()
        run_process(command, f"compress score {variant}")
        seconds = time.perf_counter() - begin
        repeats.append(Repeat(read_card(out / NAME), seconds))
    return repeats


def repeat_figures(repeats: Sequence[Repeat]) -> dict[str, float]:
    """Figures of the goals.

    ``near``: the share of the ratios within 5 % of their median; ``same``: 1 where all accuracy figures are equal to
    the bit, else 0; ``overhead_s``: the median overhead a row, of a variant and its baselines.
    """
    ratios = np.array([repeat.ratio for repeat in repeats])
    middle = float(np.median(ratios))
    return {
        "near": float((abs(ratios - middle) <= _NEAR * middle).mean()),
        "same": float(all(repeat.accuracy == repeats[0].accuracy for repeat in repeats)),
        "overhead_s": float(np.median([repeat.overhead for repeat in repeats])),
    }


def repeat_lines(repeats: Sequence[Repeat]) -> Sequence[str]:
    """One line a repeat: ratio, launches, total seconds, overhead seconds a row, cores used by others."""
    lines = ["  ratio  launches  seconds  overhead  others"]
    for repeat in repeats:
        launches = len(repeat.card.original.measures[PLANS[repeat.card.kind].speed].launches)
        times = f"{repeat.seconds:7.1f}  {repeat.overhead:8.1f}  {repeat.card.others:6.2f}"
        lines.append(f"{repeat.ratio:7.3f}  {launches:8}  {times}")
    return lines
