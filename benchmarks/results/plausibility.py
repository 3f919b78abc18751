"""Plausibility of a scorecard that was read from a file: figures and rows that no measurement gives."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from itertools import chain

from compress.benchmarks.results.metrics import METRICS, Metric
from compress.benchmarks.results.scorecard import Row, Scorecard
from compress.benchmarks.statistics.measure import Measure

_BY_KEY = {metric.key: metric for metric in METRICS}
_ROUNDING = 1e-9
_LARGEST = 1e290
"""A figure; sums of larger ones, and quotients by smaller ones than its inverse, are no numbers."""
_MOST = 1 << 53
"""Threads, tokens, parameters."""
_MOST_CELLS = 10_000


def implausible(card: Scorecard) -> str | None:
    """What is wrong with a card, in words that follow "it"; None where nothing is."""
    return next(_problems(card), None)


def _problems(card: Scorecard) -> Iterator[str]:
    names = Counter(row.name for row in card.rows)
    roles = [row.role for row in card.rows]
    if not names or roles[0] != "original" or roles.count("original") > 1:
        yield "doesn't begin with one row of the original"
    if twice := next((name for name, count in names.items() if count > 1), None):
        yield f"has two rows called {twice!r}"
    facts = {"load": card.load, "others": card.others, "bandwidth": card.bandwidth, **card.seconds}
    yield from (f"says {fact} is {value:g}" for fact, value in facts.items() if not 0 <= value < math.inf)
    if not 1 <= card.threads <= _MOST or not 0 <= min(card.windows) <= max(card.windows) <= _MOST:
        yield f"says that {card.threads} threads read {card.windows[0]} windows"
    lengths, batches = card.settings.lengths, card.settings.batches
    if min((*lengths, *batches), default=1) < 1 or len(lengths) * len(batches) > _MOST_CELLS:
        yield f"says that {len(lengths)} lengths were measured in {len(batches)} batches"
    for row in card.rows:
        yield from _row_problems(row)


def _row_problems(row: Row) -> Iterator[str]:
    if not 1 <= row.parameters <= _MOST:
        yield f"says that {row.name} has {row.parameters} parameters"
    cells = [(key, measure) for cell in row.cells for key, measure in cell.measures.items()]
    for key, measure in [*row.measures.items(), *cells]:
        numbers = (measure.value, *_rounds(measure), *measure.windows, *(measure.bounds or ()))
        if (unbounded := next((number for number in numbers if not _is_measurable(number)), None)) is not None:
            yield f"says {key} of {row.name} is {unbounded}"
        elif not all(measure.launches):
            yield f"says {key} of {row.name} was measured in a launch without rounds"
        elif measure.bounds is not None and measure.bounds[0] > measure.bounds[1]:
            yield f"says {key} of {row.name} is at least {measure.bounds[0]:g} and at most {measure.bounds[1]:g}"
        elif not 0 <= (measure.spread or 0.0) < math.inf:
            yield f"says {key} of {row.name} is known to ± {measure.spread}"
        elif (metric := _BY_KEY.get(key)) is not None:
            yield from (f"says {key} of {row.name} is {value:g}" for value in _outside(metric, measure))


def _rounds(measure: Measure) -> Iterator[float]:
    return chain.from_iterable(measure.launches)


def _is_measurable(number: float) -> bool:
    return not number or 1 / _LARGEST <= abs(number) <= _LARGEST


def _outside(metric: Metric, measure: Measure) -> Iterator[float]:
    """A figure, or rounds of it, beyond what the metric can be."""
    for value in (measure.value, *_rounds(measure)):
        if not metric.lowest - _ROUNDING <= value <= metric.highest + _ROUNDING:
            yield value
