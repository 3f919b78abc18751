"""Score variants together with their baselines: the function `score`, and the report that it writes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from compress.api.score_plan import VariantToScore, plan_score
from compress.api.target_set import TargetSet
from compress.api.unavailable import unavailable_reasons, unmeasured_row
from compress.benchmarks.data.inputs import EvaluationInputs
from compress.benchmarks.measure.stopwatch import Stopwatch
from compress.benchmarks.report import base as report
from compress.benchmarks.report.markdown import variant_section
from compress.benchmarks.results.contender import FLOAT, Contender
from compress.benchmarks.results.scorecard import Scorecard, Settings
from compress.benchmarks.score import RunInfo, score_contenders
from compress.checkpoint.model import Model
from compress.checkpoint.variant import Variant
from compress.checkpoint.writing.model_card import card_with_scores
from compress.errors import MissingComponentError
from compress.export.targets.base import Target
from compress.progress import Progress, Silent
from compress.system.staging import check_report, scratch


def score(
    variants: Sequence[Variant | str | Path],
    model: Model | None = None,
    *,
    target: str = "ort-cpu",
    evaluation: str | Path | None = None,
    labels: str | Path | None = None,
    tasks: Sequence[str] = (),
    settings: Settings | None = None,
    out: str | Path | None = None,
    unverified: bool = False,
    allow_overlap: bool = False,
    evaluation_windows: int | None = None,
    progress: Progress | None = None,
) -> Scorecard:
    """Measure variants of one model, the model itself and its float export, all in one interleaved run.

    ``variants``: variants or their directories, exported to the ``target``, or to several (``"ort-cpu,gguf"``).
    ``model``: their original; None opens it from where it was when they were made.
    ``evaluation``: a file or folder of texts or ``hf://datasets/…``, a folder of images or an ``.npy`` array of pixels;
    None takes packaged Wikipedia articles, or what a model writes whose tokenizer isn't made for English.
    ``evaluation_windows``: how many windows or images of it; None takes as many as make every ratio to the original
    known to ±0.5 %, or as many as two minutes allow.
    ``labels``: a file of labeled text. ``tasks``: lm-eval tasks, by name or YAML file. ``settings``: how much is
    measured, and the seed. ``out``: an existing directory for the report in every format; None writes none.
    ``unverified`` measures artifacts and an original that aren't as they were recorded; ``allow_overlap`` evaluates
    even on what calibrated a variant. ``progress`` is told of long work.

    Raises UsageError for data that can't be used and for an ``out`` with another program's report in it, ModelError for
    a directory that is no exported variant, for an artifact that was changed since and for another original, RunError
    where something can't be run.
    """
    progress = progress or Silent()
    paths = [v.path if isinstance(v, Variant) else Path(v) for v in variants]
    plan = plan_score(paths, TargetSet.parse(target), model, unverified, progress=progress)
    settings = settings or Settings()
    inputs = EvaluationInputs(
        plan.model,
        evaluation,
        _path(labels),
        tuple(tasks),
        settings.seed,
        progress,
        allow_overlap=allow_overlap,
        count=evaluation_windows,
        quick=settings.quick,
    )
    plan.check(inputs)
    if out is not None:
        check_report(Path(out))
    return score_variants(plan.variants, plan.targets, inputs, settings, _path(out))


def score_variants(
    variants: Sequence[VariantToScore],
    targets: TargetSet,
    evaluation: EvaluationInputs,
    settings: Settings,
    out: Path | None,
    command: str = "",
) -> Scorecard:
    """Measure the model of the evaluation data in torch, its float export where the target has one, and the variants.

    The report goes into the directory ``out``, and each variant's figures into its model card, where that can be
    written. Where there are several targets, those that can't be run here have rows that say so; one must be runnable.
    """
    model, progress, clock = evaluation.model, evaluation.progress, Stopwatch()
    exported = [one for variant in variants for one in variant.exported(targets)]
    reasons = unavailable_reasons(exported, settings.threads) if len(targets) > 1 else {}
    for name, reason in reasons.items():
        progress.notice(f"{name} is not measured, as it can't be run here: {reason}")
    if len(targets) > 1 and all(one.target.name in reasons for one in exported):
        raise MissingComponentError(f"none of {targets.name} can be run here; --no-score makes the artifacts alone")
    windows = evaluation.arrays
    clock.lap("texts")
    contenders = [Contender.of_checkpoint(model, model.parameters)]
    with scratch("float", out) as folder:
        if (target := targets.float_target) is not None and target.name not in reasons:
            contenders.append(_float_export(model, target, folder, progress))
            clock.lap("float export")
        contenders += [one.contender() for one in exported if one.target.name not in reasons]
        info = RunInfo(model.source, command, (*evaluation.origins, *progress.notices), model.digest)
        card = score_contenders(contenders, windows, settings, progress, info, clock)
    unmeasured = [unmeasured_row(one, reasons[one.target.name]) for one in exported if one.target.name in reasons]
    card = card.model_copy(update={"rows": (*card.rows, *unmeasured)})
    if out is not None:
        cards: dict[Path, str] = {}
        for variant in variants:
            if os.access(variant.path, os.W_OK):  # else it is where nothing is written, as on another's disk
                cards |= card_with_scores(variant.path, variant_section(card, variant.name))
        report.write([card], out, cards)
    return card


def _path(name: str | Path | None) -> Path | None:
    return None if name is None else Path(name)


def _float_export(model: Model, target: Target, parent: Path, progress: Progress) -> Contender:
    """The second baseline: the model on the target's runtime, nothing compressed and nothing fused."""
    folder = parent / target.folder
    folder.mkdir()
    with progress.status("exporting the float baseline"):
        artifact = target.export(model, (), folder, progress)
    return Contender.of_artifact(artifact, FLOAT, f"{target.default_dtype}, standard operators", "float")
