"""Plan of a score: variants of one model, held against what was recorded of them and of that model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compress.benchmarks.results.contender import FLOAT, ORIGINAL, Applied, Contender, loaded_files
from compress.benchmarks.results.difficulty import applied
from compress.benchmarks.results.layer_errors import LayerErrors, layer_errors
from compress.benchmarks.runtime.specs import spec_of_target
from compress.checkpoint.files.artifact import FILE as ARTIFACT
from compress.checkpoint.files.artifact import Artifact
from compress.checkpoint.files.hashes import mismatches, recorded
from compress.checkpoint.files.manifest import FILE as MANIFEST
from compress.checkpoint.files.manifest import Manifest, Source, advise_variant
from compress.checkpoint.locate import check_source
from compress.errors import ModelError, UsageError
from compress.pipeline.parse import Pipeline
from compress.progress import Progress, Silent

if TYPE_CHECKING:
    from compress.api.target_set import TargetSet
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

    def exported(self, targets: TargetSet) -> list[ExportedVariant]:
        """The variant on each target that it has an artifact for; on all, where none can be opened."""
        every = [ExportedVariant(self, target, targets.contender_name(self.name, target)) for target in targets]
        return [exported for exported in every if (exported.path / ARTIFACT).is_file()] or every


@dataclass(frozen=True)
class ExportedVariant:
    """Artifact of a variant for one target, by the ``name`` that it has in a scorecard."""

    variant: VariantToScore
    target: Target
    name: str

    @property
    def path(self) -> Path:
        """The artifact's directory."""
        return self.variant.path / self.target.folder

    @property
    def pipeline(self) -> Pipeline:
        """The passes that act in it: those of a graph only where the target has one."""
        written = self.variant.pipeline
        return written if self.target.capability.graphs else Pipeline(written.weight_passes)

    @property
    def passes(self) -> tuple[Applied, ...]:
        """The same as a scorecard records them."""
        return applied(self.pipeline)

    @property
    def errors(self) -> LayerErrors | None:
        """What they cost each layer."""
        return layer_errors(self.variant.manifest)

    @property
    def context(self) -> int | None:
        """Tokens of the longest text that it serves, where there is one and that was limited."""
        return Artifact.open(self.path).context if (self.path / ARTIFACT).is_file() else None

    def artifact(self) -> Artifact:
        """Its facts; a ModelError for an artifact that isn't safe to load."""
        from compress.export.files.safety import check_artifact  # here: it takes seconds to import

        artifact = Artifact.open(self.path)
        check_artifact(artifact.path)
        return artifact

    def contender(self) -> Contender:
        """What is measured; a ModelError where there is nothing to load, or nothing safe."""
        recipe = str(self.pipeline) or "nothing applied"
        return Contender.of_artifact(self.artifact(), self.name, recipe, passes=self.passes, errors=self.errors)


@dataclass(frozen=True)
class ScorePlan:
    """A checked score: variants of one ``model``, as they were made of it, and the targets they are measured on."""

    variants: Sequence[VariantToScore]
    model: Model
    targets: TargetSet

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
    dequantize = any(manifest.source.dequantized for manifest in manifests)
    for source in dict.fromkeys(model or manifest.source.name for manifest in manifests):
        try:
            check_source(source, trust_remote_code, dequantize)
        except ModelError as error:
            raise _without_original(error) from error


def _no_variant(path: Path) -> str:
    """What to tell of a path that is no variant, to follow its name."""
    return "; ".join(filter(None, ["is not a variant", advise_variant(path)]))


def unscorable_reasons(path: Path, targets: TargetSet) -> dict[str, str]:
    """Why a directory has nothing to score on a target, by its name; nothing for those that it has an artifact for."""
    if not (path / MANIFEST).is_file():
        return dict.fromkeys((target.name for target in targets), _no_variant(path))
    return {
        target.name: f"has no artifact for {target.name} (compress export {path} --target {target.name} makes it)"
        for target in targets
        if not (path / target.folder / ARTIFACT).is_file()
    }


def plan_score(
    paths: Sequence[Path],
    targets: TargetSet,
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
        model = _open_original(variants[0].manifest.source, model, trust_remote_code, progress)
    if unverified:
        progress.notice("--unverified: neither artifacts nor original were held against what was recorded of them")
    else:
        _check_original(variants, model)
        for variant in variants:
            if not variant.manifest.files:
                again = _again(variant.path, targets.name)
                progress.notice(f"{variant.path}: not verified, as no hashes were recorded; to record them, {again}")
                continue
            for exported in variant.exported(targets):
                _check_artifact(exported, progress)
    contexts = [exported.context for variant in variants for exported in variant.exported(targets)]
    return ScorePlan(variants, model.within(min(filter(None, contexts), default=None)), targets)


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


def _open_original(source: Source, place: str | None, trust_remote_code: bool, progress: Progress) -> Model:
    """The model that a variant was made from, at another ``place`` where it has moved."""
    from compress.checkpoint.model import Model

    try:
        return Model.open(place or source.name, trust_remote_code, progress, source.dequantized is not None)
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


def _check_artifact(exported: ExportedVariant, progress: Progress) -> None:
    """Refuse an artifact that isn't as it was exported for its variant."""
    path, target = exported.variant.path, exported.target
    again, hashes = _again(path, target.name), recorded(exported.variant.manifest, target.folder)
    if problem := next(mismatches(path, hashes, progress), None):
        raise ModelError(f"{path / problem[0]} {problem[1]}; {again}")
    engine = spec_of_target(target.name)
    files = [] if engine is None else loaded_files(exported.artifact().path, engine.name)
    loaded = [file.relative_to(path).as_posix() for file in files]
    if foreign := next((name for name in loaded if name not in hashes), None):
        raise ModelError(f"{path / foreign} was not exported for this variant; {again}")


def _again(path: Path, target: str) -> str:
    return f"export it again (compress export {path} --target {target}), or pass --unverified"
