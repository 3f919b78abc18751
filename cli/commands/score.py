"""Measure variants again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from compress.cli.console import Console, command_line
from compress.cli.shared.measuring import SpeedOptions, speed_options
from compress.cli.shared.options import (
    FilePath,
    allow_overlap,
    evaluation_file,
    evaluation_windows,
    every_figure,
    labels_file,
    profile,
    quick,
    require,
    seed,
    strict,
    targets,
    task_names,
    threads,
    trust_remote_code,
)
from compress.errors import ModelError, UsageError
from compress.system.staging import check_report, output_folder

if TYPE_CHECKING:
    from compress.api.target_set import TargetSet


@click.command("score")
@click.argument("paths", nargs=-1, required=True, type=FilePath(), metavar="VARIANT...")
@click.option("--model", help="The original model, if it has moved since the variants were made.")
@click.option(
    "-o",
    "--out",
    type=FilePath(),
    help="Directory for the report.  [default: the variants' parent directory]",
)
@profile
@targets("Targets whose artifacts are measured, one or a list such as ort-cpu,gguf.")
@evaluation_file
@evaluation_windows
@quick
@allow_overlap
@labels_file
@task_names
@speed_options
@require
@strict
@every_figure
@click.option("--unverified", is_flag=True, help="Score artifacts and an original that aren't as they were recorded.")
@seed
@threads
@trust_remote_code
def command(
    paths: tuple[Path, ...],
    model: str | None,
    out: Path | None,
    profile: str,
    target: str | None,
    evaluation: str | None,
    eval_windows: int | None,
    quick: bool,
    allow_overlap: bool,
    labels: Path | None,
    task_names: tuple[str, ...],
    speed: SpeedOptions,
    require: tuple[str, ...],
    strict: bool,
    every_figure: bool,
    unverified: bool,
    seed: int,
    threads: int | None,
    trust_remote_code: bool,
) -> None:
    """Measure variants of one model again, together with its baselines, in one interleaved run.

    Reports among the arguments are ignored, and what has no artifact for the target is left out with a note, so out/*
    works. An artifact that was changed or moved since its export is refused.
    """
    from compress.api.score_plan import check_sources
    from compress.benchmarks.gate.requirement import parse_requirements

    requirements = parse_requirements(require)
    candidates = [path for path in paths if not path.name.startswith("report.")]
    check_sources(candidates, model, trust_remote_code)

    from compress.api.score import score_variants  # after these: a mistake in them waits for no torch
    from compress.api.score_plan import plan_score
    from compress.api.target_set import TargetSet
    from compress.benchmarks.data.inputs import EvaluationInputs
    from compress.benchmarks.gate.judge import judge
    from compress.benchmarks.results.scorecard import Settings
    from compress.cli.shared.gating import check_figures, check_measured, enforce
    from compress.cli.shared.scores import print_scores
    from compress.profiles.loader import load_profile

    console = Console()
    machine = load_profile(profile)
    runtimes = TargetSet.parse(target or machine.target)
    folders = _scorable(candidates, runtimes, console)
    with output_folder(out or _parent(folders)) as report_folder:
        check_report(report_folder)
        plan = plan_score(folders, runtimes, model, unverified, trust_remote_code, console)
        check_figures(requirements, plan.model)
        settings = Settings(
            quick=quick,
            seed=seed,
            threads=threads or machine.threads,
            price_per_hour=machine.price_per_hour,
            **speed.settings(plan.model),
        )
        inputs = EvaluationInputs(
            plan.model,
            evaluation,
            labels,
            task_names,
            seed,
            console,
            trust_remote_code,
            allow_overlap,
            count=eval_windows,
            quick=quick,
        )
        plan.check(inputs)
        check_measured(requirements, inputs)
        card = score_variants(plan.variants, runtimes, inputs, settings, report_folder, command_line())
        print_scores(card, report_folder, console, every_figure)
    if requirements:
        enforce(judge(card, requirements), strict, console)


def _scorable(paths: Sequence[Path], targets: TargetSet, console: Console) -> list[Path]:
    """Those that have an artifact for one of the targets, each once; a note tells what is missing of the others.

    Raises ModelError where none is left.
    """
    from compress.api.score_plan import unscorable_reasons

    reasons = {path: unscorable_reasons(path, targets) for path in paths}
    chosen = [path for path, missing in reasons.items() if len(missing) < len(targets)]
    if paths and not chosen:
        nothing = (f"{path} {' and '.join(dict.fromkeys(missing.values()))}" for path, missing in reasons.items())
        raise ModelError("nothing to score: " + ", ".join(nothing))
    for path, missing in reasons.items():
        where = "is left out" if len(missing) == len(targets) else "is not measured everywhere"
        for reason in dict.fromkeys(missing.values()):
            console.notice(f"{path} {where}: it {reason}")
    distinct: dict[Path, Path] = {}
    for path in chosen:
        distinct.setdefault(path.resolve(), path)
    return list(distinct.values())


def _parent(variants: Sequence[Path]) -> Path:
    parents = {variant.resolve().parent for variant in variants}
    if len(parents) > 1:
        raise UsageError("the variants are in different directories; choose the report's with -o")
    return parents.pop()
