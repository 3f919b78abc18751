"""Run a scoring: speed, memory and accuracy of every contender, as a scorecard."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from compress.benchmarks.data.evaluation import Evaluation
from compress.benchmarks.measure.accuracy import measure_accuracy
from compress.benchmarks.measure.bandwidth import read_bandwidth
from compress.benchmarks.measure.comparison import AccuracyResults
from compress.benchmarks.measure.launch import Workload
from compress.benchmarks.measure.speed import SpeedResults, measure_speed
from compress.benchmarks.measure.stopwatch import Stopwatch
from compress.benchmarks.measure.turns import READ_RATE
from compress.benchmarks.results.contender import Contender
from compress.benchmarks.results.scorecard import Cell, Direction, Row, Scorecard, Settings
from compress.benchmarks.statistics.measure import Measure, Measures
from compress.benchmarks.worker.client import Worker
from compress.benchmarks.worker.image_file import ImageFile
from compress.errors import UsageError
from compress.progress import Progress, Silent
from compress.system.cores import granted_threads
from compress.system.machine import conditions, machine, versions
from compress.system.staging import scratch


@dataclass(frozen=True)
class RunInfo:
    """Facts of a run besides figures: the model's name and digest, the command line, notes for the reader."""

    model: str = ""
    command: str = ""
    notes: tuple[str, ...] = ()
    model_sha256: str = ""


def score_contenders(
    contenders: Sequence[Contender],
    evaluation: Evaluation,
    settings: Settings | None = None,
    progress: Progress | None = None,
    info: RunInfo | None = None,
    clock: Stopwatch | None = None,
) -> Scorecard:
    """Measure the contenders in one interleaved run.

    The first contender is the original in torch. Prompts for the speed are cut from the evaluation's windows; ``clock``
    knows how long everything before took. Raises RunError when a contender can't be run, UsageError for contenders or
    windows that can't be compared.
    """
    settings, progress, clock = settings or Settings(), progress or Silent(), clock or Stopwatch()
    _check(contenders)
    evaluation.check()
    settings = settings.within(evaluation.windows.shape[1], contenders[0].kind)
    threads, load = granted_threads(settings.threads), os.getloadavg()[0]
    speeds, accuracy, bandwidth = _measure(contenders, evaluation, settings, threads, progress, clock)
    rows = _rows(contenders, speeds, accuracy.measures, settings, bandwidth)
    clock.lap("summing up")
    info = info or RunInfo()
    return Scorecard(
        model=info.model or contenders[0].path.name,
        model_sha256=info.model_sha256,
        kind=contenders[0].kind,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=info.command,
        settings=settings,
        threads=threads,
        machine=machine() | conditions(),
        versions=versions(),
        load=load,
        others=speeds.cores_used_by_others,
        bandwidth=bandwidth,
        seconds=dict(clock.seconds),
        windows=(accuracy.windows, evaluation.windows.shape[1]),
        text_sha256=evaluation.digest(),
        notes=(*info.notes, *accuracy.notes),
        doubts=accuracy.doubts,
        tasks=_task_directions(evaluation, accuracy.measures),
        rows=rows,
    )


def _check(contenders: Sequence[Contender]) -> None:
    """Raise UsageError for contenders that make no scorecard."""
    if not contenders or contenders[0].role != "original":
        raise UsageError("a scorecard's first contender is the original checkpoint")
    if len({contender.kind for contender in contenders}) > 1:
        raise UsageError("a scorecard compares models of one kind: decoders and encoders don't mix")
    names = [contender.name for contender in contenders]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"two contenders are called {twice!r}: a scorecard tells them apart by name")


def _measure(
    contenders: Sequence[Contender],
    evaluation: Evaluation,
    settings: Settings,
    threads: int,
    progress: Progress,
    clock: Stopwatch,
) -> tuple[SpeedResults, AccuracyResults, float]:
    """Speed and accuracy of the contenders, and the bytes a second that memory gives.

    For accuracy, which no clock tells, all contenders serve at once, each in a process of its own.
    """
    bandwidth = read_bandwidth(threads)
    clock.lap("bandwidth")
    with ExitStack() as stack:
        folder = stack.enter_context(scratch("images"))
        images = None if evaluation.pixels is None else ImageFile.saved(evaluation.pixels, folder)
        progress.phase(f"measuring speed, {settings.launches} launches a contender at least")
        load = Workload(evaluation.tokens, settings, images)
        speeds = measure_speed(contenders, lambda contender: Worker(contender, threads), load, progress, clock)
        bandwidth = max(bandwidth, read_bandwidth(threads))  # whichever time the machine was freer
        clock.lap("bandwidth")
        progress.phase(f"loading {len(contenders)} models")
        loading = progress.track(contenders, "loading", len(contenders), "models")
        workers = [stack.enter_context(Worker(contender, threads)) for contender in loading]
        clock.lap("load")
        progress.phase(f"measuring accuracy on {len(evaluation.windows)} windows")
        accuracy = measure_accuracy(workers, evaluation, progress, settings.seed, images, clock)
    return speeds, accuracy, bandwidth


def _task_directions(evaluation: Evaluation, accuracies: Sequence[Measures]) -> dict[str, Direction]:
    """Direction that is better, for every figure of a task that was measured."""
    if evaluation.tasks is None:
        return {}
    measured = {key for measures in accuracies for key in measures}
    return {key: better for key, better in evaluation.tasks.better.items() if key in measured}


def _rows(
    contenders: Sequence[Contender],
    speeds: SpeedResults,
    accuracies: Sequence[Measures],
    settings: Settings,
    bandwidth: float,
) -> tuple[Row, ...]:
    floats = next((contender for contender in contenders if contender.role == "float"), None)
    figures = zip(contenders, speeds.measures, speeds.cells, accuracies, strict=True)
    return tuple(
        _row(contender, floats, speed | accuracy | _cost(speed, settings), cells, bandwidth)
        for contender, speed, cells, accuracy in figures
    )


def _cost(speed: Measures, settings: Settings) -> Measures:
    """Cost of a million tokens, decoded or encoded, or of a million images, where an hour has a price."""
    if settings.price_per_hour is None:
        return {}
    million_seconds = settings.price_per_hour / 3600 * 1e6
    if "images_ps" in speed:
        return {"image_cost": speed["images_ps"].converted(lambda rate: million_seconds / rate)}
    rates, tokens = (speed["decode_tps"], 1) if "decode_tps" in speed else (speed["sentences_ps"], settings.prompt)
    return {"cost": rates.converted(lambda rate: million_seconds / (rate * tokens))}


def _row(
    contender: Contender, floats: Contender | None, measures: Measures, cells: tuple[Cell, ...], bandwidth: float
) -> Row:
    sizes = {
        "disk_bytes": Measure(value=contender.disk_bytes),
        "other_bytes": Measure(value=contender.other_bytes),
        "bits_per_weight": Measure(value=8 * contender.stored_bytes / contender.parameters),
    }
    if rate := measures.pop(READ_RATE, None):
        sizes["bandwidth_fraction"] = rate.converted(lambda read: read / bandwidth)
    compared = floats is not None and contender.role == "variant" and contender.engine == floats.engine
    return Row(
        name=contender.name,
        path="" if contender.role == "float" else str(contender.path),  # it was made for this run alone
        engine=contender.engine,
        role=contender.role,
        recipe=contender.recipe,
        parameters=contender.parameters,
        unchanged=compared and floats is not None and contender.same_bytes(floats),
        zeros=contender.zeros,
        products=contender.products,
        passes=contender.passes,
        measures=measures | sizes,
        cells=cells,
        errors=contender.errors,
    )
