"""``compress run``: compress a model, export and score every variant (the default)."""

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
from compress.cli.shared.images import reader
from compress.cli.shared.measuring import More, measures_more
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
    tasks,
    trust_remote_code,
)
from compress.cli.shared.scoring import Entry, score_and_report
from compress.cli.shared.texts import Texts
from compress.errors import UsageError
from compress.export.targets.base import Target, find_target
from compress.pipeline.parse import Pipeline
from compress.pipeline.predict import ConfigOnlyModel, predict
from compress.pipeline.rewrite import rewrite
from compress.pipeline.run import resolve, run_pipeline
from compress.profiles.loader import load_profile
from compress.system.staging import check_replaceable, staged


@click.command("run")
@click.argument("source", metavar="MODEL")
@click.option(
    "-p", "--pipeline", "pipelines", multiple=True, metavar="PASSES",
    help="Passes in order, like int8,fuse or int8:group=32,fuse; once for each variant.  [default: the profile's]",
)  # fmt: skip
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), default=Path("out"), show_default=True,
    help="Where the variants and the report go.",
)  # fmt: skip
@profile
@click.option("--target", help="Where the variants are to run.  [default: the profile's]")
@click.option(
    "--calibration", type=click.Path(path_type=Path),
    help="Text (or JSON lines) for passes that read statistics; for a model that sees, a folder of images or an .npy "
    "file of pixels.  [default: written by the model itself; noise like images]",
)  # fmt: skip
@click.option(
    "--samples", type=click.IntRange(min=1),
    help="Calibration windows.  [default: 16; for solvers 128 of a text, 64 that the model writes]",
)  # fmt: skip
@click.option(
    "--length", type=click.IntRange(min=8), help="Tokens in each of them.  [default: 256; for solvers 512]"
)  # fmt: skip
@click.option("--ablate", is_flag=True, help="Also make every variant without each of its passes, to see what helped.")
@click.option("--no-score", is_flag=True, help="Make the variants, measure nothing.")
@evaluation_file
@labels_file
@tasks
@measures_more
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
    tasks: tuple[str, ...],
    more: More,
    require: tuple[str, ...],
    strict: bool,
    checkpoint_format: str | None,
    shard_bytes: int | None,
    merge: bool,
    seed: int,
    overwrite: bool,
    trust_remote_code: bool,
) -> None:
    """Compress MODEL (a directory, a hub id, or demo:smollm2, demo:minilm), export and score every variant."""
    console = Console()
    required = parse_requirements(require)
    if required and no_score:
        raise UsageError("--require needs figures; leave --no-score out")
    if (labels is not None or tasks) and no_score:
        raise UsageError(f"{'--tasks' if tasks else '--labels'} is for scoring; leave --no-score out")
    if more and no_score:
        raise UsageError("--seq, --batch, --beams and --sample say what to measure; leave --no-score out")
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
    with console.waiting(f"reading {source}"):
        model = Model.open(source, trust_remote_code, console)
        check_kind([each.figure for each in required], model.kind)
        besides = more.settings(model)
        settled = [resolve(model, pipeline, runtime.capability) for pipeline in parsed]
        for pipeline in settled if runtime.restricted else ():
            _check_weights(model, pipeline, runtime, merge)
        needed = max(pipeline.required_statistic() for pipeline in settled)
    texts = reader(model)(
        model, calibration, evaluation, samples, length, seed, console, needed >= Statistic.GRAM, labels, tasks
    )
    texts.check(scoring=not no_score)
    texts.check_required([each.figure for each in required])
    entries: list[Entry] = []
    solved: dict[str, Path] = {}  # what differs in its graph alone is solved once
    for pipeline in parsed:
        key = ",".join(map(str, pipeline.weight_passes))
        entries.append(_make(model, pipeline, runtime, texts, out, seed, storage, overwrite, console, solved.get(key)))
        solved.setdefault(key, entries[-1].path)
    for entry in entries:
        runtime.complete(Variant.open(entry.path), entry.path / runtime.folder)
    if no_score:
        return
    settings = Settings(seed=seed, threads=chosen.threads, price_per_hour=chosen.price_per_hour, **besides)
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
            f"{holder} has to know beforehand how every matrix will be stored; {error}, or make the variant for "
            "--target hf without --format and export it then"
        ) from None
    held = {name: form.merged for name, form in weights.items()} if merge else weights
    runtime.check_weights(model.architecture, held)


def _make(
    model: Model,
    pipeline: Pipeline,
    runtime: Target,
    texts: Texts,
    out: Path,
    seed: int,
    storage: WriteOptions,
    overwrite: bool,
    console: Console,
    solved: Path | None,
) -> Entry:
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
        with console.waiting(f"exporting {pipeline} to {runtime.name}"):
            runtime.export(variant, pipeline.graph_passes, artifact, console)
    console.say(f"made {path}")
    for notice in notices(variant.manifest):
        console.notice(f"{pipeline}: {notice}")
    return Entry(pipeline.slug, path, str(pipeline))


def command_line() -> str:
    """This run as it can be typed again."""
    return shlex.join(["compress", *sys.argv[1:]])
