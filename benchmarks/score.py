"""One scoring run: every contender's speed, memory and accuracy, as a scorecard."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from compress.benchmarks.data.labels import Labelled
from compress.benchmarks.data.tasks import Tasks
from compress.benchmarks.measure.accuracy import measure_accuracy
from compress.benchmarks.measure.bandwidth import read_bandwidth
from compress.benchmarks.measure.cores import available_cores
from compress.benchmarks.measure.speed import READ_RATE, Measures, measure_speed
from compress.benchmarks.measure.stopwatch import Stopwatch
from compress.benchmarks.results.contender import Contender
from compress.benchmarks.results.scorecard import Cell, Row, Scorecard, Settings
from compress.benchmarks.runtime.engine import Ids
from compress.benchmarks.statistics.measure import Measure, summarize
from compress.benchmarks.worker.client import Worker
from compress.benchmarks.worker.image_file import Images
from compress.errors import UsageError
from compress.progress import Progress, Silent
from compress.system.machine import conditions, machine, versions


def score_contenders(
    contenders: Sequence[Contender],
    ids: ArrayLike,
    settings: Settings | None = None,
    progress: Progress | None = None,
    *,
    mask: ArrayLike | None = None,
    labelled: Labelled | None = None,
    tasks: Tasks | None = None,
    model: str = "",
    command: str = "",
    notes: Sequence[str] = (),
    clock: Stopwatch | None = None,
) -> Scorecard:
    """Measure the contenders in one interleaved run.

    The first contender is the original in torch. ``ids`` are evaluation windows ``[n, s]``, ``mask`` marks their
    tokens (all, by default); prompts for the speed are cut from them. Contenders that see are given images
    ``[n, c, h, w]`` in their place, each a window of one. ``labelled`` text and ``tasks`` are measured besides;
    ``clock`` knows what was done so far. One process a contender serves first and is asked for its outputs then: its
    memory is read in between. Raises RunError when a contender can't be run.
    """
    settings, progress, clock = settings or Settings(), progress or Silent(), clock or Stopwatch()
    seen = np.asarray(ids) if contenders and contenders[0].kind.is_vision else None
    windows: Ids = np.asarray(ids, dtype=np.int64) if seen is None else np.arange(len(seen))[:, None]
    marked: Ids = np.ones_like(windows) if mask is None else np.asarray(mask, dtype=np.int64)
    _check(contenders, windows, marked)
    settings = settings.within(windows.shape[1], contenders[0].kind)
    threads, load = settings.threads or available_cores(), os.getloadavg()[0]
    bandwidth = read_bandwidth(threads)
    clock.lap("bandwidth")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="compress-")))
        images = None if seen is None else Images.saved(seen, folder)
        loading = progress.track(contenders, "loading", len(contenders), "models")
        workers = [stack.enter_context(Worker(contender, threads)) for contender in loading]
        clock.lap("load")
        speeds = measure_speed(workers, windows[marked.astype(bool)], settings, progress, clock, images)
        bandwidth = max(bandwidth, read_bandwidth(threads))  # whichever time the machine was freer
        clock.lap("bandwidth")
        accuracies = measure_accuracy(workers, windows, marked, progress, labelled, settings.seed, tasks, images, clock)
    floats = next((contender for contender in contenders if contender.role == "float"), None)
    rows = [
        _row(contender, floats, speed | accuracy | _cost(speed, settings), cells, bandwidth)
        for contender, speed, cells, accuracy in zip(contenders, speeds.measures, speeds.cells, accuracies, strict=True)
    ]
    clock.lap("summing up")
    return Scorecard(
        model=model or contenders[0].path.name,
        kind=contenders[0].kind,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        settings=settings,
        threads=threads,
        machine=machine() | conditions(),
        versions=versions(),
        load=load,
        others=speeds.cores_used_by_others,
        bandwidth=bandwidth,
        seconds=dict(clock.seconds),
        windows=(windows.shape[0], windows.shape[1]),
        text_sha256=_digest(windows if seen is None else seen, marked, labelled, tasks),
        notes=tuple(notes),
        tasks={} if tasks is None else {k: v for k, v in tasks.better.items() if any(k in each for each in accuracies)},
        rows=tuple(rows),
    )


def _digest(read: NDArray[Any], mask: Ids, labelled: Labelled | None, tasks: Tasks | None) -> str:
    """SHA-256 over all that accuracy is measured on."""
    parts = [read.tobytes(), mask.tobytes()]
    parts += [] if labelled is None else [labelled.tokens().tobytes()]
    parts += [] if tasks is None else [tasks.digest()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _check(contenders: Sequence[Contender], ids: Ids, mask: Ids) -> None:
    if not contenders or contenders[0].role != "original":
        raise UsageError("a scorecard's first contender is the original checkpoint")
    if len({contender.kind for contender in contenders}) > 1:
        raise UsageError("a scorecard compares models of one kind: decoders and encoders don't mix")
    names = [contender.name for contender in contenders]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"two contenders are called {twice!r}: a scorecard tells them apart by name")
    least = 1 if contenders[0].kind.is_vision else 2
    if ids.ndim != 2 or ids.shape != mask.shape or len(ids) == 0 or ids.shape[1] < least:
        raise UsageError(f"evaluation needs windows of at least two tokens, not an array of shape {ids.shape}")


def _cost(speed: Measures, settings: Settings) -> Measures:
    """What a million tokens cost where an hour has a price: decoded ones, or those of an encoder's sentences.

    Or a million images.
    """
    if settings.price_per_hour is None:
        return {}
    if "images_ps" in speed:
        rounds = speed["images_ps"].rounds
        return {"image_cost": summarize([settings.price_per_hour / 3600 * 1e6 / each for each in rounds])}
    rate, tokens = (speed["decode_tps"], 1) if "decode_tps" in speed else (speed["sentences_ps"], settings.prompt)
    return {"cost": summarize([settings.price_per_hour / 3600 * 1e6 / (each * tokens) for each in rate.rounds])}


def _row(
    contender: Contender, floats: Contender | None, measures: Measures, cells: tuple[Cell, ...], bandwidth: float
) -> Row:
    sizes = {
        "disk_bytes": Measure(value=contender.disk_bytes),
        "bits_per_weight": Measure(value=8 * contender.stored_bytes / contender.parameters),
    }
    if rate := measures.pop(READ_RATE, None):
        sizes["bandwidth_fraction"] = summarize([each / bandwidth for each in rate.rounds])
    compared = floats is not None and contender.role == "variant" and contender.engine == floats.engine
    return Row(
        name=contender.name,
        path=str(contender.path),
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
