"""Export a variant to a target: the function `export`, and the plan of which directory it writes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from compress.api.target_set import graph_passes
from compress.checkpoint.files.artifact import Artifact
from compress.checkpoint.files.hashes import artifact_sums, record_additions, record_artifact
from compress.checkpoint.variant import Variant
from compress.checkpoint.writing.writer import SHARD_BYTES, WriteOptions
from compress.errors import UsageError
from compress.export.lowering.float_graph import GraphSource
from compress.export.targets.base import Target, find_target
from compress.pipeline.contract import GraphPass
from compress.pipeline.parse import Pipeline
from compress.pipeline.rewrite import MergedVariant, rewrite
from compress.progress import Progress, Silent
from compress.system.staging import staged


def export(
    variant: Variant | str | Path,
    target: str = "ort-cpu",
    out: str | Path | None = None,
    *,
    graph: GraphSource | None = None,
    context: int | None = None,
    checkpoint_format: str | None = None,
    max_shard_bytes: int | None = None,
    merge: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Artifact:
    """Write a variant's artifact for a target, verified against torch; nothing is compressed again.

    ``variant``: a variant or its directory. ``target``: the runtime, such as ``ort-cpu``, ``hf`` or ``gguf``. ``out``:
    the artifact's directory; None takes the target's inside the variant, which is replaced, and for another checkpoint
    one next to the variant. ``graph``: where a float graph comes from, ``built`` from a description of the architecture
    or ``traced`` by torch; None takes whichever is correct. ``context``: tokens of the longest text that a decoder is
    to serve; None takes the model's. ``checkpoint_format``, ``max_shard_bytes``: for the target hf. ``merge``
    multiplies low-rank products out, for targets that can't hold them. ``overwrite`` replaces an ``out`` that exists.
    ``progress`` is told of long work; None is silent.

    Raises UsageError where the target can't hold the variant, ExportError where the artifact isn't the variant's equal,
    MissingComponentError where something that it needs is not installed.
    """
    runtime = find_target(target)
    plan = plan_export(
        variant if isinstance(variant, Variant) else Variant.open(Path(variant)),
        runtime,
        None if out is None else Path(out),
        graph=graph,
        context=context,
        checkpoint_format=checkpoint_format,
        max_shard_bytes=max_shard_bytes,
        merge=merge,
        overwrite=overwrite,
    )
    artifact = plan.run(progress or Silent())
    plan.complete()
    return artifact


@dataclass(frozen=True)
class ExportPlan:
    """A checked export: what is written, and where.

    ``path`` is the directory of the artifact. ``rewrites``: a checkpoint in another format, or in other files, is
    written there; else the artifact is made from the variant as it is. ``overwrite``: what is at ``path`` is replaced.
    """

    variant: Variant
    target: Target
    options: WriteOptions
    path: Path
    rewrites: bool
    overwrite: bool

    @property
    def graph_passes(self) -> tuple[GraphPass, ...]:
        """The graph passes of the variant's pipeline, where the target has a graph for them."""
        return graph_passes(Pipeline.parse(self.variant.manifest.pipeline), self.target)

    def run(self, progress: Progress) -> Artifact:
        """Write the artifact and verify it; its directory appears complete or not at all."""
        variant = self.variant
        for pass_ in self.graph_passes:
            for line in pass_.notices(variant, self.target.capability):
                progress.notice(f"{pass_.name}: {line}")
        in_place = not self.rewrites and not self.target.folder  # a variant that is its own artifact, verified there
        place: AbstractContextManager[Path] = nullcontext(self.path)
        if not in_place:
            place = staged(self.path, self.overwrite, source=variant.path)
        with place as folder:
            if self.rewrites:
                variant = rewrite(variant, folder, self.options, progress)
            elif self.options.merge:
                variant = MergedVariant.of(variant)
            with progress.status(f"exporting {self.variant.path} to {self.target.name}"):
                artifact = self.target.export(variant, self.graph_passes, folder, progress)
            if not self.target.folder:
                record_artifact(folder, variant.manifest, "")
            # Before it takes its place: until its hashes are recorded, a kill leaves a variant that is refused.
            sums = artifact_sums(folder, self.target.folder) if self._is_inside else {}
        if self._is_inside:
            record_artifact(self.variant.path, self.variant.manifest, self.target.folder, sums)
        return replace(artifact, path=self.path)

    def complete(self) -> None:
        """Finish the artifact, such as by building an engine; a MissingComponentError where that can't be done."""
        self.target.complete(self.variant, self.path)
        if self._is_inside:
            record_additions(self.variant.path, self.variant.manifest, self.target.folder)

    @property
    def _is_inside(self) -> bool:
        """Whether the artifact lies where a score of the variant looks for it."""
        place = self.variant.path / self.target.folder
        return bool(self.target.folder) and self.path.resolve() == place.resolve()


def plan_export(
    variant: Variant,
    target: Target,
    out: Path | None = None,
    *,
    graph: GraphSource | None = None,
    context: int | None = None,
    checkpoint_format: str | None = None,
    max_shard_bytes: int | None = None,
    merge: bool = False,
    overwrite: bool = False,
) -> ExportPlan:
    """Decide where an export goes, and what it writes; the arguments are those of `export`.

    Without ``out`` an artifact goes into its target's directory inside the variant, and replaces what is there: that
    can be made again from the variant. Another checkpoint goes next to the variant. Raises UsageError where the target
    can't hold the variant, or where options don't go together.
    """
    is_checkpoint = not target.folder
    if not is_checkpoint and max_shard_bytes is not None:
        raise UsageError("--max-shard-size is for checkpoints; give it with --target hf")
    if is_checkpoint or checkpoint_format is not None:
        target = target.with_format(checkpoint_format or variant.manifest.format)
    if graph is not None:
        target = target.with_graph(graph)
    target.check_context(context)
    variant = variant.within(context)
    weights = variant.manifest.weights
    merged = {name: form.merged for name, form in weights.items()} if merge else weights
    target.check_weights(variant.architecture, merged)
    options = WriteOptions(target.format, max_shard_bytes or SHARD_BYTES, merge)
    if not is_checkpoint:
        path = out or variant.path / target.folder
        return ExportPlan(variant, target, options, path, rewrites=False, overwrite=overwrite or out is None)
    if out is None and max_shard_bytes is None and not _changes(variant, options):
        return ExportPlan(variant, target, options, variant.path, rewrites=False, overwrite=True)
    return ExportPlan(variant, target, options, out or _sibling(variant, options), rewrites=True, overwrite=overwrite)


def _changes(variant: Variant, options: WriteOptions) -> bool:
    """Whether a checkpoint written with these options differs from the variant's own."""
    has_products = any(form.parts for form in variant.manifest.weights.values())
    return options.format.name != variant.manifest.format or (options.merge and has_products)


def _sibling(variant: Variant, options: WriteOptions) -> Path:
    """The directory next to the variant for another checkpoint of it: ``int4-gptq`` next to ``int4``."""
    if not _changes(variant, options):
        raise UsageError("--max-shard-size alone only cuts the same checkpoint anew; choose a directory with -o")
    path = variant.path.resolve()
    suffix = options.format.name if options.format.name != variant.manifest.format else "merged"
    return path.parent / f"{path.name}-{suffix}"
