"""Compress a model, export and score every variant (the default)."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from compress.benchmarks.gate.judge import judge
from compress.benchmarks.gate.requirement import check_kind, parse_requirements
from compress.benchmarks.results.scorecard import Settings
from compress.calibration.statistics import Statistic
from compress.checkpoint.model import Model
from compress.checkpoint.storage import SHARD_BYTES, WriteOptions
from compress.checkpoint.summary import notices
from compress.checkpoint.variant import Variant
from compress.cli.console import Console
from compress.cli.shared.gating import enforce
from compress.cli.shared.images import inputs_class
from compress.cli.shared.measuring import ExtraMeasurements, extra_measurement_options
from compress.cli.shared.options import (
    checkpoint_format,
    evaluation_file,
    labels_file,
    max_shard_size,
    merge,
    overwrite,
    profile,
    require,
    seed,
    strict,
    task_names,
    trust_remote_code,
)
from compress.cli.shared.scoring import VariantToScore, score_and_report
from compress.cli.shared.texts import TextInputs
from compress.errors import UsageError
from compress.export.targets.base import Target, find_target
from compress.pipeline.parse import Pipeline
from compress.pipeline.predict import ConfigOnlyModel, predict
from compress.pipeline.resolve import resolve
from compress.pipeline.rewrite import rewrite
from compress.pipeline.run import run_pipeline
from compress.profiles.loader import load_profile
from compress.system.staging import check_replaceable, staged


@click.command("run")
@click.argument("source", metavar="MODEL")
@click.option(
    "-p",
    "--pipeline",
    "pipelines",
    multiple=True,
    metavar="PASSES",
    help="Passes in order, e.g. int8,fuse or int8:group=32,fuse; repeat for more variants.  [default: the profile's]",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=Path("out"),
    show_default=True,
    help="Output directory for the variants and the report.",
)
@profile
@click.option("--target", help="Target runtime.  [default: the profile's]")
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    help="Calibration data: text or JSON lines; for vision models a folder of images or an .npy file of pixels.  "
    "[default: text that the model writes; generated noise images]",
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    help="Number of calibration windows or images.  [default: 16 windows, for solvers 128 of a text or 64 that the "
    "model writes; 32 images, for solvers 256]",
)
@click.option(
    "--length", type=click.IntRange(min=8), help="Tokens per calibration window.  [default: 256; for solvers 512]"
)
@click.option("--ablate", is_flag=True, help="Also build each variant without each of its passes (ablation).")
@click.option("--no-score", is_flag=True, help="Build the variants, but don't measure them.")
@evaluation_file
@labels_file
@task_names
@extra_measurement_options
@require
@strict
@checkpoint_format
@max_shard_size
@merge
@seed
@overwrite
@trust_remote_code
def command(
    source: str,
    pipelines: tuple[str, ...],
    out: Path,
    profile: str,
    target: str | None,
    calibration: Path | None,
    samples: int | None,
    length: int | None,
    ablate: bool,
    no_score: bool,
    evaluation: Path | None,
    labels: Path | None,
    task_names: tuple[str, ...],
    extra: ExtraMeasurements,
    require: tuple[str, ...],
    strict: bool,
    checkpoint_format: str | None,
    shard_bytes: int | None,
    merge: bool,
    seed: int,
    overwrite: bool,
    trust_remote_code: bool,
) -> None:
    """Compress MODEL, export and score every variant.

    MODEL is a directory, a Hugging Face Hub id, or a demo (demo:smollm2, demo:minilm).
    """
    console = Console()
    required = parse_requirements(require)
    if required and no_score:
        raise UsageError("--require needs a score; remove --no-score")
    if (labels is not None or task_names) and no_score:
        raise UsageError(f"{'--tasks' if task_names else '--labels'} is for scoring; remove --no-score")
    if extra and no_score:
        raise UsageError("--seq, --batch, --beams and --sample are for scoring; remove --no-score")
    chosen = load_profile(profile)
    asked = _parse(pipelines or chosen.pipelines)
    parsed = _ablated(asked) if ablate else asked
    runtime = find_target(target or chosen.target)
    if checkpoint_format is not None:
        runtime = runtime.with_format(checkpoint_format)
    storage = WriteOptions(runtime.format, shard_bytes or SHARD_BYTES, merge)
    for pipeline in parsed:
        runtime.check(pipeline.passes, merge)
    _check_free(out, parsed, overwrite, scoring=not no_score)
    with console.status(f"reading {source}"):
        model = Model.open(source, trust_remote_code, console)
        check_kind([requirement.figure for requirement in required], model.kind)
        extra_settings = extra.settings(model)
        settled = [resolve(model, pipeline, runtime.capability) for pipeline in parsed]
        for pipeline in settled if runtime.restricted else ():
            _check_weights(model, pipeline, runtime, merge)
        needed = max(pipeline.required_statistic() for pipeline in settled)
    texts = inputs_class(model)(
        model, calibration, evaluation, samples, length, seed, console, needed >= Statistic.GRAM, labels, task_names
    )
    texts.check(scoring=not no_score)
    texts.check_required([requirement.figure for requirement in required])
    entries: list[VariantToScore] = []
    solved: dict[str, Path] = {}  # what differs in its graph alone is solved once
    for pipeline in parsed:
        key = ",".join(map(str, pipeline.weight_passes))
        entries.append(_make(model, pipeline, runtime, texts, out, seed, storage, overwrite, console, solved.get(key)))
        solved.setdefault(key, entries[-1].path)
    for entry in entries:
        runtime.complete(Variant.open(entry.path), entry.path / runtime.folder)
    if no_score:
        return
    settings = Settings(seed=seed, threads=chosen.threads, price_per_hour=chosen.price_per_hour, **extra_settings)
    with tempfile.TemporaryDirectory(prefix=".float.", dir=out) as scratch:
        card = score_and_report(model, entries, runtime, texts, Path(scratch), out, settings, command_line(), console)
    if required:
        enforce(judge(card, required, [pipeline.slug for pipeline in asked]), strict, console)


def _parse(pipelines: Sequence[str]) -> list[Pipeline]:
    parsed = [Pipeline.parse(text) for text in pipelines]
    slugs = [pipeline.slug for pipeline in parsed]
    if twice := next((p for p in parsed if slugs.count(p.slug) > 1), None):
        raise UsageError(f"pipeline {twice} is given twice")
    return parsed


def _ablated(asked: Sequence[Pipeline]) -> list[Pipeline]:
    """The pipelines, and each without one of its passes, every one once."""
    fewer = [each for pipeline in asked for each in pipeline.without_one()]
    return list({pipeline.slug: pipeline for pipeline in [*asked, *fewer]}.values())


def _check_free(out: Path, pipelines: Sequence[Pipeline], overwrite: bool, scoring: bool) -> None:
    """Refuse now what would be refused after the work."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; choose another output directory with -o")
    for pipeline in pipelines:
        check_replaceable(out / pipeline.slug, overwrite)
    if scoring and not overwrite and (out / "report.md").exists():
        raise UsageError(f"{out / 'report.md'} exists; choose another output directory with -o, or pass --overwrite")


def _check_weights(model: Model, pipeline: Pipeline, runtime: Target, merge: bool) -> None:
    """Refuse now what the target can't hold of what a pipeline will leave."""
    try:
        weights = predict(ConfigOnlyModel(model.architecture), pipeline, runtime.capability).weights
    except UsageError as error:
        holder = f"{runtime.name} (format {runtime.format.name})"
        raise UsageError(
            f"{holder} must know in advance how every matrix will be stored; {error}, or build the variant with "
            "--target hf without --format and export it afterwards"
        ) from None
    held = {name: form.merged for name, form in weights.items()} if merge else weights
    runtime.check_weights(model.architecture, held)


def _make(
    model: Model,
    pipeline: Pipeline,
    runtime: Target,
    texts: TextInputs,
    out: Path,
    seed: int,
    storage: WriteOptions,
    overwrite: bool,
    console: Console,
    solved: Path | None,
) -> VariantToScore:
    """One variant, whole or not at all; with the integers of the one in ``solved``, if that has the same."""
    path = out / pipeline.slug
    with staged(path, overwrite) as stage:
        if solved is not None:
            variant = rewrite(Variant.open(solved), stage, storage, console, pipeline)
        else:
            variant = run_pipeline(
                model, pipeline, runtime.capability, stage, lambda: texts.calibration, seed, console, storage
            )
        artifact = stage / runtime.folder
        artifact.mkdir(exist_ok=True)
        with console.status(f"exporting {pipeline} to {runtime.name}"):
            runtime.export(variant, pipeline.graph_passes, artifact, console)
    console.say(f"wrote {path}")
    for notice in notices(variant.manifest):
        console.notice(f"{pipeline}: {notice}")
    return VariantToScore(pipeline.slug, path, str(pipeline))


def command_line() -> str:
    """This run as it can be typed again."""
    return shlex.join(["compress", *sys.argv[1:]])
