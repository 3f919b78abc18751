"""Plan of a score: variants of one model, held against what was recorded of them and of that model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compress.benchmarks.results.contender import FLOAT, ORIGINAL, Contender
from compress.benchmarks.results.difficulty import applied
from compress.benchmarks.results.layer_errors import layer_errors
from compress.checkpoint.files.artifact import FILE as ARTIFACT
from compress.checkpoint.files.artifact import Artifact
from compress.checkpoint.files.hashes import mismatches, recorded
from compress.checkpoint.files.manifest import FILE as MANIFEST
from compress.checkpoint.files.manifest import Manifest, advise_variant
from compress.checkpoint.locate import check_source
from compress.errors import ModelError, UsageError
from compress.pipeline.parse import Pipeline
from compress.progress import Progress, Silent

if TYPE_CHECKING:
    from compress.benchmarks.data.inputs import EvaluationInputs
    from compress.checkpoint.model import Model
    from compress.export.targets.base import Target


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

    def context(self, target: Target) -> int | None:
        """Tokens of the longest text that its artifact serves, where there is one and that was limited."""
        folder = self.path / target.folder
        return Artifact.open(folder).context if (folder / ARTIFACT).is_file() else None

    def contender(self, target: Target) -> Contender:
        """Artifact of the variant for a target; a ModelError where it has none, or an unsafe one."""
        from compress.export.files.safety import check_artifact  # here: it takes seconds to import

        artifact = Artifact.open(self.path / target.folder)
        check_artifact(artifact.path)
        errors = layer_errors(self.manifest)
        return Contender.of_artifact(
            artifact, self.name, str(self.pipeline), passes=applied(self.pipeline), errors=errors
        )


@dataclass(frozen=True)
class ScorePlan:
    """A checked score: variants of one ``model``, as they were made of it, and the target that they are measured on."""

    variants: Sequence[VariantToScore]
    model: Model
    target: Target

    def check(self, evaluation: EvaluationInputs) -> None:
        """Refuse, with a UsageError, evaluation data that can't be used, or on which a variant was calibrated."""
        from compress.calibration.overlap import Sketch  # here: it imports torch

        evaluation.check()
        evaluation.check_overlap(
            {variant.name: Sketch.decode(variant.manifest.calibration_sketch) for variant in self.variants}
        )


def check_sources(paths: Sequence[Path], model: str | None = None, trust_remote_code: bool = False) -> None:
    """Refuse, as `plan_score` does, no or absent paths and an original that can't be read; no torch is waited for.

    ``model``: where the original is, if not where it was. What is no variant has none, and there must be one at least.
    """
    _check_any(paths)
    if absent := next((path for path in paths if not path.exists()), None):
        raise UsageError(f"{absent} does not exist; give directories that `compress run` wrote")
    manifests = [Manifest.read(path) for path in paths if (path / MANIFEST).is_file()]
    if not manifests:
        raise ModelError("nothing to score: " + ", ".join(f"{path} {_no_variant(path)}" for path in paths))
    for source in dict.fromkeys(model or manifest.source.name for manifest in manifests):
        try:
            check_source(source, trust_remote_code)
        except ModelError as error:
            raise _without_original(error) from error


def _no_variant(path: Path) -> str:
    """What to tell of a path that is no variant, to follow its name."""
    return "; ".join(filter(None, ["is not a variant", advise_variant(path)]))


def unscorable_reason(path: Path, target: Target) -> str | None:
    """Why a directory has nothing to score on a target; None for a variant with an artifact for it."""
    if not (path / MANIFEST).is_file():
        return _no_variant(path)
    if not (path / target.folder / ARTIFACT).is_file():
        return f"has no artifact for {target.name} (compress export {path} --target {target.name} makes it)"
    return None


def plan_score(
    paths: Sequence[Path],
    target: Target,
    model: Model | str | None = None,
    unverified: bool = False,
    trust_remote_code: bool = False,
    progress: Progress | None = None,
) -> ScorePlan:
    """Read the variants in directories and their original, ``model``, and hold both against what was recorded.

    None opens the original from where it was when they were made. ``unverified`` compares nothing. Raises UsageError
    for variants of different models, ModelError for what isn't as it was recorded, or can't be read.
    """
    progress = progress or Silent()
    variants = _read_variants(paths)
    if model is None or isinstance(model, str):
        model = _open_original(model or variants[0].manifest.source.name, trust_remote_code, progress)
    if unverified:
        progress.notice("--unverified: neither artifacts nor original were held against what was recorded of them")
    else:
        _check_original(variants, model)
        _check_artifacts(variants, target, progress)
    contexts = [context for variant in variants if (context := variant.context(target)) is not None]
    return ScorePlan(variants, model.within(min(contexts, default=None)), target)


def _read_variants(paths: Sequence[Path]) -> list[VariantToScore]:
    _check_any(paths)
    variants = [VariantToScore.read(path) for path in paths]
    by_source = {variant.manifest.source.sha256: variant for variant in variants}
    if len(by_source) > 1:
        origins = ", ".join(f"{variant.path} of {variant.manifest.source.name}" for variant in by_source.values())
        raise UsageError(f"the variants come from different models ({origins}); score them separately")
    names = [ORIGINAL, FLOAT, *(variant.name for variant in variants)]
    if alike := next((variant for variant in variants if names.count(variant.name) > 1), None):
        raise UsageError(f"another row of the report is named {alike.name} as well; rename the directory {alike.path}")
    return variants


def _check_any(paths: Sequence[Path]) -> None:
    if not paths:
        raise UsageError("no variant among the arguments; give directories that `compress run` wrote")


def _open_original(source: str, trust_remote_code: bool, progress: Progress) -> Model:
    from compress.checkpoint.model import Model

    try:
        return Model.open(source, trust_remote_code, progress)
    except ModelError as error:
        raise _without_original(error) from error


def _without_original(error: ModelError) -> ModelError:
    return ModelError(f"{error}; give the original's present place with --model")


def _check_original(variants: Sequence[VariantToScore], model: Model) -> None:
    """Refuse a model that the variants were not made from, in weights or config."""
    from compress.api.verify import original_problems

    for variant in variants:
        if problems := original_problems(variant.manifest.source, model):
            raise ModelError(f"{problems[0]}; name the original with --model, or pass --unverified")


def _check_artifacts(variants: Sequence[VariantToScore], target: Target, progress: Progress) -> None:
    """Refuse artifacts that aren't as they were exported for these variants.

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
