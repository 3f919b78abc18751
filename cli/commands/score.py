"""``compress score``: measure variants again."""

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
from compress.cli.shared.images import reader
from compress.cli.shared.measuring import More, measures_more
from compress.cli.shared.options import (
    evaluation_file,
    labels_file,
    profile,
    require,
    seed,
    strict,
    tasks,
    trust_remote_code,
)
from compress.cli.shared.scoring import Entry, score_and_report
from compress.errors import ModelError, UsageError
from compress.export.targets.base import find_target
from compress.profiles.loader import load_profile


@click.command("score")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="VARIANT...")
@click.option("--model", help="The original, if it is no longer where the variants say.")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path),
    help="An existing directory for the report.  [default: the one that holds the variants]",
)  # fmt: skip
@profile
@click.option("--target", help="Which artifact to measure.  [default: the profile's]")
@evaluation_file
@labels_file
@tasks
@measures_more
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
    tasks: tuple[str, ...],
    more: More,
    require: tuple[str, ...],
    strict: bool,
    seed: int,
    trust_remote_code: bool,
) -> None:
    """Measure variants of one model again, beside its baselines, in one interleaved run.

    A report among the arguments (out/* holds one) is passed over.
    """
    console = Console()
    required = parse_requirements(require)
    chosen = load_profile(profile)
    runtime = find_target(target or chosen.target)
    variants = [path for path in paths if not path.name.startswith("report.")]
    manifests = [(path, Manifest.read(path)) for path in variants]
    if not manifests:
        raise UsageError("there is no variant among the arguments; name directories that `compress run` made")
    sources = {manifest.source.sha256: manifest.source.name for _, manifest in manifests}
    if len(sources) > 1:
        raise UsageError(f"the variants come from different models ({', '.join(sources.values())}); score them apart")
    digest, name = next(iter(sources.items()))
    folder = out or _parent(variants)
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a directory; -o names an existing one")
    try:
        original = Model.open(model or name, trust_remote_code, console)
    except ModelError as error:
        raise ModelError(f"{error}; --model says where the variants' original is now") from error
    if original.digest != digest:
        raise ModelError(f"{original.source} is not the model that these variants were made from: its weights differ")
    check_kind([each.figure for each in required], original.kind)
    besides = more.settings(original)
    entries = [Entry(path.resolve().name, path, manifest.pipeline) for path, manifest in manifests]
    texts = reader(original)(
        original,
        None,
        evaluation,
        samples=None,
        length=None,
        seed=seed,
        progress=console,
        labels_file=labels,
        specs=tasks,
    )
    texts.check_required([each.figure for each in required])
    with tempfile.TemporaryDirectory(prefix=".float.", dir=folder) as scratch:
        settings = Settings(seed=seed, threads=chosen.threads, price_per_hour=chosen.price_per_hour, **besides)
        card = score_and_report(
            original, entries, runtime, texts, Path(scratch), folder, settings, command_line(), console
        )
    if required:
        enforce(judge(card, required), strict, console)


def _parent(variants: list[Path]) -> Path:
    parents = {variant.resolve().parent for variant in variants}
    if len(parents) > 1:
        raise UsageError("the variants lie in different directories; say with -o where the report goes")
    return parents.pop()
