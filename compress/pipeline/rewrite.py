"""A variant written again: in another format, with its products multiplied out, or for other graph passes.

Nothing is solved again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compress.checkpoint.storage import WriteOptions
from compress.checkpoint.variant import Variant, VariantWriter
from compress.pipeline.contract import WeightPass
from compress.pipeline.parse import Pipeline
from compress.progress import Progress
from compress.weights.forms import Weight, merged


@dataclass(frozen=True)
class MergedVariant(Variant):
    """A variant whose products are multiplied out as they are read; its manifest still tells of the products."""

    @classmethod
    def of(cls, variant: Variant) -> MergedVariant:
        """The same variant, read so."""
        return cls(variant.path, variant.manifest, variant.shards, variant.architecture)

    def weight(self, name: str) -> Weight:
        """A matrix, dense where it is stored as a product."""
        return merged(super().weight(name))


def rewrite(
    variant: Variant, out: Path, storage: WriteOptions, progress: Progress, pipeline: Pipeline | None = None
) -> Variant:
    """Write a variant's integers into the directory ``out`` as ``storage`` says; its manifest goes along.

    It will be the variant of another ``pipeline``, if that is given, which must have the same weight passes. One matrix
    at a time is in memory beside the file that is being filled.
    """
    writer = VariantWriter(variant, variant.architecture, out, storage)
    for name in progress.track(variant.names, "writing the checkpoint", unit="tensor"):
        if name in variant.manifest.weights:
            writer.add({name: variant.weight(name)}, {}, {})
        else:
            writer.add({}, {name: variant.tensor(name)}, {})
    manifest = variant.manifest.model_copy()
    if pipeline is not None:
        manifest.pipeline, manifest.recipe = str(pipeline), _recipe(variant, pipeline)
    return writer.finish(manifest, progress)


def _recipe(variant: Variant, pipeline: Pipeline) -> list[str]:
    """A pipeline with its weight passes as they were decided for a variant that has the same ones."""
    passes = zip(Pipeline.parse(variant.manifest.pipeline).passes, variant.manifest.recipe, strict=True)
    decided = iter([text for item, text in passes if isinstance(item, WeightPass)])
    return [next(decided) if isinstance(item, WeightPass) else str(item) for item in pipeline.passes]
