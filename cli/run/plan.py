"""Plan of `compress run`: its options, checked as far as that goes without a model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compress.checkpoint.locate import check_source
from compress.errors import UsageError
from compress.pipeline.parse import Pipeline
from compress.profiles.loader import Profile, load_profile
from compress.system.staging import check_replaceable, check_report

if TYPE_CHECKING:
    from compress.api.target_set import TargetSet
    from compress.benchmarks.gate.requirement import Requirement
    from compress.checkpoint.writing.writer import WriteOptions
    from compress.cli.shared.measuring import SpeedOptions


@dataclass(frozen=True)
class RunRequest:
    """The arguments and options of `compress run`."""

    source: str
    pipelines: tuple[str, ...]
    out: Path
    profile: str
    target: str | None
    calibration: str | None
    samples: int | None
    length: int | None
    ablate: bool
    no_score: bool
    evaluation: str | None
    allow_overlap: bool
    eval_windows: int | None
    quick: bool
    labels: Path | None
    task_names: tuple[str, ...]
    speed: SpeedOptions
    require: tuple[str, ...]
    strict: bool
    every_figure: bool
    context: int | None
    checkpoint_format: str | None
    shard_bytes: int | None
    merge: bool
    seed: int
    overwrite: bool
    threads: int | None
    trust_remote_code: bool
    dequantize: bool


@dataclass(frozen=True)
class RunPlan:
    """A request that has been checked as far as that goes without a model.

    ``requested`` are the pipelines that the user named, ``pipelines`` those and their ablations.
    """

    request: RunRequest
    requirements: Sequence[Requirement]
    profile: Profile
    requested: Sequence[Pipeline]
    pipelines: Sequence[Pipeline]
    targets: TargetSet
    write_options: WriteOptions


def check(request: RunRequest) -> RunPlan:
    """Refuse, with a UsageError, what can't work whatever the model is; with a ModelError, a model that isn't there."""
    profile = load_profile(request.profile)
    requested = _parse(request.pipelines or profile.pipelines)
    check_source(request.source, request.trust_remote_code, request.dequantize)

    from compress.benchmarks.gate.requirement import parse_requirements

    requirements = parse_requirements(request.require)
    if request.no_score:
        _check_nothing_scored(request)
    pipelines = _with_ablations(requested) if request.ablate else requested
    _check_free(request, pipelines)

    from compress.api.target_set import TargetSet  # after these: a mistake in them waits for no torch
    from compress.checkpoint.writing.writer import SHARD_BYTES, WriteOptions

    targets = TargetSet.parse(request.target or profile.target, request.checkpoint_format)
    targets.check_context(request.context)
    for pipeline in pipelines:
        targets.check(pipeline.passes, request.merge)
    write_options = WriteOptions(targets.format, request.shard_bytes or SHARD_BYTES, request.merge)
    return RunPlan(request, requirements, profile, requested, pipelines, targets, write_options)


def _check_nothing_scored(request: RunRequest) -> None:
    """Refuse options that say what to measure where nothing is."""
    if request.require:
        raise UsageError("--require needs a score; remove --no-score")
    if request.labels is not None or request.task_names:
        raise UsageError(f"{'--tasks' if request.task_names else '--labels'} is for scoring; remove --no-score")
    options = {"allow-overlap": request.allow_overlap, "eval-windows": request.eval_windows, "quick": request.quick}
    if option := next((f"--{name}" for name, value in options.items() if value), None):
        raise UsageError(f"{option} is for scoring; remove --no-score")
    if request.speed:
        raise UsageError("--launches, --seq, --batch, --beams and --sample are for scoring; remove --no-score")


def _parse(texts: Sequence[str]) -> list[Pipeline]:
    pipelines = [Pipeline.parse(text) for text in texts]
    slugs = [pipeline.slug for pipeline in pipelines]
    if repeated := next((pipeline for pipeline in pipelines if slugs.count(pipeline.slug) > 1), None):
        raise UsageError(f"pipeline {repeated} is given twice")
    return pipelines


def _with_ablations(pipelines: Sequence[Pipeline]) -> list[Pipeline]:
    """The pipelines, and each without one of its passes; every one once."""
    ablations = [shorter for pipeline in pipelines for shorter in pipeline.without_one()]
    return list({pipeline.slug: pipeline for pipeline in [*pipelines, *ablations]}.values())


def _check_free(request: RunRequest, pipelines: Sequence[Pipeline]) -> None:
    """Refuse now what would be refused after the work: outputs that exist."""
    out = request.out
    if os.path.exists(out) and not out.is_dir():
        raise UsageError(f"{out} is a file; choose another output directory with -o")
    for pipeline in pipelines:
        check_replaceable(out / pipeline.slug, request.overwrite, Path(os.path.expanduser(request.source)))
    if request.no_score:
        return
    check_report(out)
    if not request.overwrite and (out / "report.md").exists():
        raise UsageError(f"{out / 'report.md'} exists; choose another output directory with -o, or pass --overwrite")
