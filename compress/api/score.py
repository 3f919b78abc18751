"""Score variants together with their baselines: the function `score`, and the report that it writes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compress.api.verify import original_problems
from compress.benchmarks.data.inputs import EvaluationInputs
from compress.benchmarks.measure.stopwatch import Stopwatch
from compress.benchmarks.report import base as report
from compress.benchmarks.report.markdown import variant_section
from compress.benchmarks.results.contender import Contender
from compress.benchmarks.results.difficulty import applied
from compress.benchmarks.results.layer_errors import layer_errors
from compress.benchmarks.results.scorecard import Scorecard, Settings
from compress.benchmarks.score import RunInfo, score_contenders
from compress.calibration.overlap import Sketch
from compress.checkpoint.files.artifact import FILE as ARTIFACT
from compress.checkpoint.files.artifact import Artifact
from compress.checkpoint.files.hashes import mismatches, recorded
from compress.checkpoint.files.manifest import FILE as MANIFEST
from compress.checkpoint.files.manifest import Manifest
from compress.checkpoint.model import Model
from compress.checkpoint.variant import Variant
from compress.checkpoint.writing.model_card import card_with_scores
from compress.errors import ModelError, UsageError
from compress.export.files.safety import check_artifact
from compress.export.targets.base import Target, find_target
from compress.pipeline.parse import Pipeline
from compress.progress import Progress, Silent
from compress.system.staging import scratch


@dataclass(frozen=True)
class VariantToScore:
    """A variant to score: its name in the scorecard, its directory and manifest, and the pipeline that made it."""

    name: str
    path: Path
    manifest: Manifest
    pipeline: Pipeline

    @classmethod
    def read(cls, path: Path) -> VariantToScore:
        """Read a variant's manifest; a ModelError for a directory that is no variant."""
        manifest = Manifest.read(path)
        return cls(path.resolve().name, path, manifest, Pipeline.parse(manifest.pipeline))

    def contender(self, target: Target) -> Contender:
        """Artifact of the variant for a target; a ModelError where it has none, or an unsafe one."""
        artifact = Artifact.open(self.path / target.folder)
        check_artifact(artifact.path)
        errors = layer_errors(self.manifest)
        return Contender.of_artifact(
            artifact, self.name, str(self.pipeline), passes=applied(self.pipeline), errors=errors
        )


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

    ``variants``: variants or their directories, exported to the ``target``. ``model``: their original; None opens it
    from where it was when they were made. ``evaluation``: a file or folder of texts or ``hf://datasets/…``, a folder of
    images or an ``.npy`` array of pixels; None takes a demo's held-out text, and else what the model writes.
    ``evaluation_windows``: how many windows or images of it; None takes as many as make every ratio to the original
    known to ±0.5 %, or as many as two minutes allow.
    ``labels``: a file of labeled text. ``tasks``: lm-eval tasks, by name or YAML file. ``settings``: how much is
    measured, and the seed. ``out``: an existing directory for the report in every format; None writes none.
    ``unverified`` measures artifacts and an original that aren't as they were recorded; ``allow_overlap`` evaluates
    even on what calibrated a variant. ``progress`` is told of long work.

    Raises ModelError for a directory that is no exported variant, for an artifact that was changed since and for
    another original, RunError where something can't be run.
    """
    progress = progress or Silent()
    entries = read_variants([v.path if isinstance(v, Variant) else Path(v) for v in variants])
    original = model or open_original(entries, progress=progress)
    runtime = find_target(target)
    if not unverified:
        check_original(entries, original)
        check_artifacts(entries, runtime, progress)
    settings = settings or Settings()
    inputs = EvaluationInputs(
        original,
        evaluation,
        _path(labels),
        tuple(tasks),
        settings.seed,
        progress,
        allow_overlap=allow_overlap,
        count=evaluation_windows,
        quick=settings.quick,
    )
    inputs.check()
    check_overlap(entries, inputs)
    return score_variants(entries, runtime, inputs, settings, _path(out))


def score_variants(
    variants: Sequence[VariantToScore],
    target: Target,
    evaluation: EvaluationInputs,
    settings: Settings,
    out: Path | None,
    command: str = "",
) -> Scorecard:
    """Measure the model of the evaluation data in torch, its float export where the target has one, and the variants.

    The report goes into the directory ``out``, and each variant's figures into its model card.
    """
    model, progress, clock = evaluation.model, evaluation.progress, Stopwatch()
    windows = evaluation.arrays
    clock.lap("texts")
    contenders = [Contender.of_checkpoint(model, model.parameters)]
    with scratch(out or Path(tempfile.gettempdir()), "float") as folder:
        if target.capability.graphs:
            contenders.append(_float_export(model, target, folder, progress))
            clock.lap("float export")
        contenders += [variant.contender(target) for variant in variants]
        info = RunInfo(model.source, command, (*evaluation.origins, *progress.notices), model.digest)
        card = score_contenders(contenders, windows, settings, progress, info, clock)
    if out is not None:
        cards: dict[Path, str] = {}
        for variant in variants:
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
    return Contender.of_artifact(artifact, "onnx float", f"{target.default_dtype}, standard operators", "float")


def unscorable_reason(path: Path, target: Target) -> str | None:
    """Why a directory has nothing to score on a target; None for a variant with an artifact for it."""
    if not (path / MANIFEST).is_file():
        return "is not a variant"
    if not (path / target.folder / ARTIFACT).is_file():
        return f"has no artifact for {target.name} (compress export {path} --target {target.name} makes it)"
    return None


def read_variants(paths: Sequence[Path]) -> list[VariantToScore]:
    """Variants by their directories; a UsageError where they don't come from one model."""
    variants = [VariantToScore.read(path) for path in paths]
    if not variants:
        raise UsageError("no variant among the arguments; give directories that `compress run` wrote")
    sources = {variant.manifest.source.sha256: variant.manifest.source.name for variant in variants}
    if len(sources) > 1:
        names = ", ".join(sources.values())
        raise UsageError(f"the variants come from different models ({names}); score them separately")
    return variants


def open_original(
    variants: Sequence[VariantToScore],
    source: str | None = None,
    trust_remote_code: bool = False,
    progress: Progress | None = None,
) -> Model:
    """The model that variants were made from, at ``source`` or where it was then; a ModelError where it isn't there."""
    try:
        return Model.open(source or variants[0].manifest.source.name, trust_remote_code, progress)
    except ModelError as error:
        raise ModelError(f"{error}; give the original's present place with --model") from error


def check_overlap(variants: Sequence[VariantToScore], evaluation: EvaluationInputs) -> None:
    """Refuse, with a UsageError, an evaluation on what calibrated a variant, unless that is allowed."""
    sketches = {variant.name: Sketch.decode(variant.manifest.calibration_sketch) for variant in variants}
    evaluation.check_overlap(sketches)


def check_original(variants: Sequence[VariantToScore], model: Model) -> None:
    """Refuse, with a ModelError, a model that the variants were not made from, in weights or config."""
    for variant in variants:
        if problems := original_problems(variant.manifest.source, model):
            raise ModelError(f"{problems[0]}; name the original with --model, or pass --unverified")


def check_artifacts(variants: Sequence[VariantToScore], target: Target, progress: Progress) -> None:
    """Refuse, with a ModelError, artifacts that aren't as they were exported for these variants.

    A notice tells of variants without hashes, which an older version made.
    """
    for variant in variants:
        path, manifest = variant.path, variant.manifest
        again = f"export it again (compress export {path} --target {target.name}), or pass --unverified"
        hashes = recorded(manifest, target.folder)
        if not manifest.files:
            progress.notice(f"{path}: not verified, as no hashes were recorded; to record them, {again}")
            continue
        if problem := next(mismatches(path, hashes, progress), None):
            raise ModelError(f"{path / problem[0]} {problem[1]}; {again}")
        loaded = [file.relative_to(path).as_posix() for file in variant.contender(target).files()]
        if foreign := next((name for name in loaded if name not in hashes), None):
            raise ModelError(f"{path / foreign} was not exported for this variant; {again}")
