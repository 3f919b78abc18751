"""Every picture of a report, by its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from compress.benchmarks.plots.figure import Suffix
from compress.benchmarks.plots.layer_errors import NAME, draw_errors
from compress.benchmarks.plots.lengths import GAIN, LATENCY, draw_gains, draw_latency
from compress.benchmarks.plots.pareto import COSTS, draw_front
from compress.benchmarks.results.scorecard import Scorecard

PICTURES: dict[str, Callable[[Sequence[Scorecard], Suffix], bytes | None]] = {
    **{cost.name: partial(draw_front, cost) for cost in COSTS},
    LATENCY: draw_latency,
    GAIN: draw_gains,
    NAME: draw_errors,
}
"""What draws each; None where nothing was measured for it."""
