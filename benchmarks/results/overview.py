"""Overview of several runs, machines and models: a line a contender, a column a metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compress.benchmarks.results.metrics import METRICS, Metric, task_metric
from compress.benchmarks.results.scorecard import Row, Scorecard, ratio
from compress.benchmarks.results.significant import times_text
from compress.benchmarks.statistics.measure import Measure


@dataclass(frozen=True)
class ReportRow:
    """One contender of one run."""

    card: Scorecard
    row: Row

    @property
    def machine(self) -> str:
        """The processor and the number of threads."""
        return ", ".join(_machine(self.card))

    def ratio(self, metric: Metric) -> Measure | None:
        """Ratio of a figure to the original's; None for the original, and for metrics that aren't compared."""
        if self.row is self.card.original or not metric.compared:
            return None
        return ratio(self.row, self.card.original, metric.key)

    def shown(self, metric: Metric) -> str:
        """The figure with its spread and its ratio to the original; a dash where it wasn't measured."""
        measure = self.row.measures.get(metric.key)
        if measure is None:
            return "–"
        times = self.ratio(metric)
        return metric.shown(measure) + (f" ({times_text(times.value)})" if times is not None else "")


def report_rows(cards: Sequence[Scorecard]) -> list[ReportRow]:
    """Every contender of every run, in order."""
    return [ReportRow(card, row) for card in cards for row in card.rows]


def run_names(cards: Sequence[Scorecard]) -> list[str]:
    """A name for each run that no other of these has: of model, machine, text and time what tells them apart.

    The model alone where there is one run; the run's number where nothing tells two apart.
    """
    if len(cards) == 1:
        return [cards[0].model]
    names = [""] * len(cards)
    for facts in zip(*map(_facts, cards), strict=True):
        if len(set(names)) < len(cards) and len(set(facts)) > 1:
            names = [f"{name}, {own}" if name else own for name, own in zip(names, facts, strict=True)]
    return [name if names.count(name) == 1 else f"{name} run {i}".strip() for i, name in enumerate(names, start=1)]


def run_prefixes(cards: Sequence[Scorecard]) -> list[str]:
    """What goes before a contender's name to tell its run apart (``"tiny, 2 threads: "``); nothing of a single run."""
    return [""] if len(cards) == 1 else [f"{name}: " for name in run_names(cards)]


def _facts(card: Scorecard) -> tuple[str, ...]:
    """What tells runs apart, the plainest first."""
    return card.model, *_machine(card), card.read, card.created


def _machine(card: Scorecard) -> tuple[str, str]:
    """The processor and the number of threads."""
    threads = f"{card.threads} thread{'s' if card.threads != 1 else ''}"
    return card.machine.get("processor", "unknown"), threads


def measured(cards: Sequence[Scorecard]) -> list[Metric]:
    """Metrics that any contender has."""
    keys = {key for card in cards for row in card.rows for key in row.measures}
    tasks = {key: better for card in cards for key, better in card.tasks.items()}
    return [metric for metric in (*METRICS, *map(task_metric, tasks, tasks.values())) if metric.key in keys]


def overview(cards: Sequence[Scorecard]) -> tuple[list[str], list[list[str]]]:
    """Headers and rows: model, machine, contender, then the metrics."""
    chosen = measured(cards)
    headers = ["model", "machine", "variant", *(metric.heading for metric in chosen)]
    return headers, [
        [line.card.model, line.machine, line.row.name, *(line.shown(metric) for metric in chosen)]
        for line in report_rows(cards)
    ]
