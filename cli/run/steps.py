"""The steps of `compress run` after its check: open, resolve, make, complete, score, gate."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from compress.api.compress_model import resolve_for_targets
from compress.api.score import score_variants
from compress.api.score_plan import VariantToScore
from compress.api.target_set import graph_passes
from compress.benchmarks.data.inputs import EvaluationInputs
from compress.benchmarks.gate.judge import judge
from compress.benchmarks.results.scorecard import Scorecard, Settings
from compress.calibration.inputs import CalibrationInputs
from compress.calibration.overlap import Sketch
from compress.calibration.statistics import Statistic
from compress.checkpoint.files.hashes import record_additions, record_artifact
from compress.checkpoint.files.summary import notices
from compress.checkpoint.model import Model
from compress.checkpoint.variant import Variant
from compress.cli.console import Console, command_line
from compress.cli.run.plan import RunPlan
from compress.cli.shared.gating import check_figures, check_measured, enforce
from compress.cli.shared.scores import print_scores
from compress.errors import MissingComponentError
from compress.pipeline.resolve import ResolvedPipeline
from compress.pipeline.resolve import notices as left_out
from compress.pipeline.rewrite import rewrite
from compress.pipeline.run import run_pipeline
from compress.system.staging import staged


@dataclass(frozen=True)
class RunInputs:
    """A model, the pipelines resolved for it, and what it is calibrated and scored on.

    ``settings`` say how much is measured.
    """

    model: Model
    pipelines: Sequence[ResolvedPipeline]
    calibration: CalibrationInputs
    evaluation: EvaluationInputs
    settings: Settings


def open_model(plan: RunPlan, console: Console) -> Model:
    """Find the model and read its headers."""
    with console.status(f"reading {plan.request.source}"):
        request = plan.request
        model = Model.open(request.source, request.trust_remote_code, console, request.dequantize)
    return model.within(plan.request.context)


def resolve(plan: RunPlan, model: Model, console: Console) -> RunInputs:
    """Refuse what can't work on this model, and read the files that the user named, before the work."""
    request, profile = plan.request, plan.profile
    check_figures(plan.requirements, model)
    speed_settings = request.speed.settings(model)
    pipelines = [resolve_for_targets(model, pipeline, plan.targets, request.merge) for pipeline in plan.pipelines]
    for line in left_out(model, pipelines, plan.targets.capability):
        console.notice(line)
    statistic = max(pipeline.required_statistic() for pipeline in pipelines)
    evaluation = EvaluationInputs(
        model,
        request.evaluation,
        request.labels,
        request.task_names,
        request.seed,
        console,
        trust_remote_code=request.trust_remote_code,
        allow_overlap=request.allow_overlap,
        count=request.eval_windows,
        quick=request.quick,
    )
    calibration = CalibrationInputs(
        model,
        request.calibration,
        request.samples,
        request.length,
        request.seed,
        statistic >= Statistic.GRAM,
        console,
    )
    if not request.no_score:
        evaluation.check()
    calibration.check()
    if request.calibration is not None and not request.no_score:
        evaluation.check_overlap({f"the variants ({request.calibration})": Sketch.of(calibration.data)})
    check_measured(plan.requirements, evaluation)
    settings = Settings(
        quick=request.quick,
        seed=request.seed,
        threads=request.threads or profile.threads,
        price_per_hour=profile.price_per_hour,
        **speed_settings,
    )
    return RunInputs(model, pipelines, calibration, evaluation, settings)


def make_variants(plan: RunPlan, inputs: RunInputs, console: Console) -> list[VariantToScore]:
    """Build every variant and its artifacts; those that differ in their graph alone are solved once."""
    variants: list[VariantToScore] = []
    solved: dict[str, Path] = {}
    for pipeline in inputs.pipelines:
        weight_passes = ",".join(map(str, pipeline.written.weight_passes))
        variants.append(_make(plan, inputs, pipeline, solved.get(weight_passes), console))
        solved.setdefault(weight_passes, variants[-1].path)
    return variants


def _make(
    plan: RunPlan, inputs: RunInputs, pipeline: ResolvedPipeline, solved: Path | None, console: Console
) -> VariantToScore:
    """Build one variant, which appears complete or not at all; ``solved`` is one with the same weight passes."""
    written = pipeline.written
    path = plan.request.out / written.slug
    with staged(path, plan.request.overwrite, source=inputs.model.path) as stage:
        if solved is not None:
            variant = rewrite(Variant.open(solved, verify=False), stage, plan.write_options, console, written)
        else:
            variant = run_pipeline(
                inputs.model,
                pipeline,
                plan.targets.capability,
                stage,
                lambda: inputs.calibration.data,
                plan.request.seed,
                console,
                plan.write_options,
            )
        for target in plan.targets:
            artifact = stage / target.folder
            artifact.mkdir(exist_ok=True)
            served = variant.within(plan.request.context) if target.graph is not None else variant
            with console.status(f"exporting {written} to {target.name}"):
                target.export(served, graph_passes(written, target), artifact, console)
            record_artifact(stage, variant.manifest, target.folder)
    console.say(f"wrote {path}")
    for notice in notices(variant.manifest):
        console.notice(f"{written}: {notice}")
    return VariantToScore(written.slug, path, variant.manifest, written)


def complete(plan: RunPlan, variants: Sequence[VariantToScore], console: Console) -> None:
    """Finish the artifacts, such as by building engines, once every variant is written.

    Raises MissingComponentError where that can't be done here; where there are other targets, a notice tells of it.
    """
    for variant, target in product(variants, plan.targets):
        opened = Variant.open(variant.path, verify=False).within(plan.request.context)
        try:
            target.complete(opened, variant.path / target.folder)
        except MissingComponentError as error:
            if len(plan.targets) == 1:
                raise
            console.notice(str(error))
        record_additions(variant.path, variant.manifest, target.folder)


def score(plan: RunPlan, inputs: RunInputs, variants: Sequence[VariantToScore], console: Console) -> Scorecard:
    """Measure the variants together with their baselines, and write and print the report."""
    out = plan.request.out
    try:
        card = score_variants(variants, plan.targets, inputs.evaluation, inputs.settings, out, command_line())
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"the variants are complete: `{_score_command(plan, variants)}` measures them"
        ) from None
    print_scores(card, out, console, plan.request.every_figure)
    return card


def _score_command(plan: RunPlan, variants: Sequence[VariantToScore]) -> str:
    """The command that does what is left of a run when its variants are complete."""
    request = plan.request
    options = {
        "--target": request.target,
        "--profile": None if request.profile == "cpu" else request.profile,
        "--eval": request.evaluation,
        "--eval-windows": request.eval_windows,
        "--labels": request.labels,
    }
    words = [str(word) for option in options.items() if option[1] is not None for word in option]
    return shlex.join(["compress", "score", *(str(variant.path) for variant in variants), *words])


def gate(plan: RunPlan, card: Scorecard, console: Console) -> None:
    """Check the variants that were asked for against the requirements; a RequirementError where one isn't met."""
    if plan.requirements:
        slugs = [pipeline.slug for pipeline in plan.requested]
        enforce(judge(card, plan.requirements, slugs), plan.request.strict, console)
