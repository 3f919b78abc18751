"""A variant written again, in another format or with its products multiplied out. Nothing is solved again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compress.progress import Progress
from compress.storage import Storage
from compress.variant import Variant, VariantWriter
from compress.weight import Weight, merged


@dataclass(frozen=True)
class Merged(Variant):
    """A variant whose products are multiplied out as they are read; its manifest still tells of the products."""

    @classmethod
    def of(cls, variant: Variant) -> Merged:
        """The same variant, read so."""
        return cls(variant.path, variant.manifest, variant.shards, variant.built)

    def weight(self, name: str) -> Weight:
        """A matrix, dense where it is stored as a product."""
        return merged(super().weight(name))


def rewrite(variant: Variant, out: Path, storage: Storage, progress: Progress) -> Variant:
    """Write a variant's integers into the directory ``out`` as ``storage`` says; its manifest goes along.

    One matrix at a time is in memory beside the file that is being filled.
    """
    writer = VariantWriter(variant, variant.built, out, storage)
    for name in progress.track(variant.names, "writing the checkpoint", unit="tensor"):
        if name in variant.manifest.weights:
            writer.add({name: variant.weight(name)}, {}, {})
        else:
            writer.add({}, {name: variant.tensor(name)}, {})
    return writer.finish(variant.manifest.model_copy(), progress)
