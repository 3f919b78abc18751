"""Write a variant again: in another format, with products multiplied out, or for other graph passes.

Nothing is solved again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compress.checkpoint.variant import Variant
from compress.checkpoint.writing.writer import VariantWriter, WriteOptions
from compress.pipeline.contract import WeightPass
from compress.pipeline.parse import Pipeline
from compress.progress import Progress
from compress.weights.forms import Weight, merged


@dataclass(frozen=True)
class MergedVariant(Variant):
    """A variant whose products are multiplied out as they are read; its manifest still tells of the products."""

    @classmethod
    def of(cls, variant: Variant) -> MergedVariant:
        """The variant with its products multiplied out."""
        return cls(
            variant.architecture,
            variant.path,
            variant.manifest,
            variant.shards,
            sentence=variant.sentence,
            context=variant.context,
        )

    def weight(self, name: str) -> Weight:
        """A matrix, dense where it is stored as a product."""
        return merged(super().weight(name))


def rewrite(
    variant: Variant, out: Path, options: WriteOptions, progress: Progress, pipeline: Pipeline | None = None
) -> Variant:
    """Write a variant's integers into the directory ``out`` as ``options`` say; its manifest goes along.

    It will be the variant of another ``pipeline``, if that is given, which must have the same weight passes. One matrix
    at a time is in memory beside the file that is being filled.
    """
    writer = VariantWriter(variant, variant.architecture, out, options)
    for name in progress.track(variant.names, "writing the checkpoint", unit="tensor"):
        if name in variant.manifest.weights:
            writer.add({name: variant.weight(name)}, {}, {})
        else:
            writer.add({}, {name: variant.tensor(name)}, {})
    manifest = variant.manifest.model_copy()
    if pipeline is not None:
        manifest.recipe = _recipe(Pipeline.parse(manifest.pipeline), manifest.recipe, pipeline)
        manifest.pipeline = str(pipeline)
    return writer.finish(manifest, progress)


def _recipe(written: Pipeline, recipe: Sequence[str], pipeline: Pipeline) -> list[str]:
    """Recipe of another ``pipeline``; the weight passes, which are the ``written`` ones, as ``recipe`` has them."""
    pairs = zip(written.passes, recipe, strict=True)
    weight_passes = (text for pass_, text in pairs if isinstance(pass_, WeightPass))
    return [next(weight_passes) if isinstance(pass_, WeightPass) else str(pass_) for pass_ in pipeline.passes]
