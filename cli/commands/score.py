"""Measure variants again."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from compress.benchmarks.gate.judge import judge
from compress.benchmarks.gate.requirement import check_kind, parse_requirements
from compress.benchmarks.results.scorecard import Settings
from compress.checkpoint.manifest import Manifest
from compress.checkpoint.model import Model
from compress.cli.commands.run import command_line
from compress.cli.console import Console
from compress.cli.shared.gating import enforce
from compress.cli.shared.images import inputs_class
from compress.cli.shared.measuring import ExtraMeasurements, extra_measurement_options
from compress.cli.shared.options import (
    evaluation_file,
    labels_file,
    profile,
    require,
    seed,
    strict,
    task_names,
    trust_remote_code,
)
from compress.cli.shared.scoring import VariantToScore, score_and_report
from compress.errors import ModelError, UsageError
from compress.export.targets.base import find_target
from compress.profiles.loader import load_profile


@click.command("score")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="VARIANT...")
@click.option("--model", help="The original model, if it has moved since the variants were made.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Existing directory for the report.  [default: the variants' parent directory]",
)
@profile
@click.option("--target", help="Target whose artifacts are measured.  [default: the profile's]")
@evaluation_file
@labels_file
@task_names
@extra_measurement_options
@require
@strict
@seed
@trust_remote_code
def command(
    paths: tuple[Path, ...],
    model: str | None,
    out: Path | None,
    profile: str,
    target: str | None,
    evaluation: Path | None,
    labels: Path | None,
    task_names: tuple[str, ...],
    extra: ExtraMeasurements,
    require: tuple[str, ...],
    strict: bool,
    seed: int,
    trust_remote_code: bool,
) -> None:
    """Measure variants of one model again, together with its baselines, in one interleaved run.

    Reports among the arguments are ignored, so out/* works.
    """
    console = Console()
    required = parse_requirements(require)
    chosen = load_profile(profile)
    runtime = find_target(target or chosen.target)
    variants = [path for path in paths if not path.name.startswith("report.")]
    manifests = [(path, Manifest.read(path)) for path in variants]
    if not manifests:
        raise UsageError("no variant among the arguments; give directories that `compress run` wrote")
    sources = {manifest.source.sha256: manifest.source.name for _, manifest in manifests}
    if len(sources) > 1:
        raise UsageError(
            f"the variants come from different models ({', '.join(sources.values())}); score them separately"
        )
    digest, name = next(iter(sources.items()))
    folder = out or _parent(variants)
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a directory; -o names an existing one")
    try:
        original = Model.open(model or name, trust_remote_code, console)
    except ModelError as error:
        raise ModelError(f"{error}; give the original's present place with --model") from error
    if original.digest != digest:
        raise ModelError(f"{original.source} is not the original of these variants: its weights differ")
    check_kind([requirement.figure for requirement in required], original.kind)
    extra_settings = extra.settings(original)
    entries = [VariantToScore(path.resolve().name, path, manifest.pipeline) for path, manifest in manifests]
    texts = inputs_class(original)(
        original,
        None,
        evaluation,
        samples=None,
        length=None,
        seed=seed,
        progress=console,
        labels_file=labels,
        task_names=task_names,
    )
    texts.check_required([requirement.figure for requirement in required])
    with tempfile.TemporaryDirectory(prefix=".float.", dir=folder) as scratch:
        settings = Settings(seed=seed, threads=chosen.threads, price_per_hour=chosen.price_per_hour, **extra_settings)
        card = score_and_report(
            original, entries, runtime, texts, Path(scratch), folder, settings, command_line(), console
        )
    if required:
        enforce(judge(card, required), strict, console)


def _parent(variants: list[Path]) -> Path:
    parents = {variant.resolve().parent for variant in variants}
    if len(parents) > 1:
        raise UsageError("the variants are in different directories; choose the report's with -o")
    return parents.pop()
