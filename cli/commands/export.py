"""Export a variant to a target runtime, without compressing it again."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import get_args

import click

from compress.checkpoint.storage import SHARD_BYTES, WriteOptions
from compress.checkpoint.variant import Variant
from compress.cli.console import Console
from compress.cli.shared.options import checkpoint_format, max_shard_size, merge, overwrite
from compress.errors import UsageError
from compress.export.lowering.float_graph import GraphSource
from compress.export.targets.base import find_target
from compress.pipeline.parse import Pipeline
from compress.pipeline.rewrite import MergedVariant, rewrite
from compress.system.staging import staged


@click.command("export")
@click.argument("path", type=click.Path(path_type=Path), metavar="VARIANT")
@click.option("--target", default="ort-cpu", show_default=True, help="Target runtime.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Output directory.  [default: the target's directory inside the variant, which is replaced; for another "
    "checkpoint format a directory next to the variant, e.g. int4-gptq next to int4]",
)
@click.option(
    "--graph",
    type=click.Choice(get_args(GraphSource)),
    help="Graph source: built from an architecture description, or traced by torch.  [default: auto, built where that "
    "is possible and correct]",
)
@checkpoint_format
@max_shard_size
@merge
@overwrite
def command(
    path: Path,
    target: str,
    out: Path | None,
    graph: GraphSource | None,
    checkpoint_format: str | None,
    shard_bytes: int | None,
    merge: bool,
    overwrite: bool,
) -> None:
    """Export VARIANT to a target runtime, without compressing it again."""
    console = Console()
    runtime = find_target(target)
    variant = Variant.open(path)
    if runtime.folder and shard_bytes is not None:
        raise UsageError("--max-shard-size is for checkpoints; give it with --target hf")
    if not runtime.folder or checkpoint_format is not None:
        runtime = runtime.with_format(checkpoint_format or variant.manifest.format)
    if graph is not None:
        runtime = runtime.with_graph(graph)
    weights = variant.manifest.weights
    runtime.check_weights(variant.architecture, {n: form.merged for n, form in weights.items()} if merge else weights)
    storage = WriteOptions(runtime.format, shard_bytes or SHARD_BYTES, merge)
    new = not runtime.folder and (out is not None or shard_bytes is not None or _differs(variant, storage))
    place = out or (_beside(variant, storage) if new else path / runtime.folder)
    again = overwrite or (out is None and not new)  # a variant's own artifact holds nothing that its integers don't
    graph_passes = Pipeline.parse(variant.manifest.pipeline).graph_passes if runtime.capability.graphs else ()
    with ExitStack() as stack:
        stage = stack.enter_context(staged(place, again)) if new or runtime.folder else place
        if new:
            variant = rewrite(variant, stage, storage, console)
        elif merge:
            variant = MergedVariant.of(variant)
        stack.enter_context(console.status(f"exporting {path} to {runtime.name}"))
        artifact = runtime.export(variant, graph_passes, stage, console)
    console.say(f"wrote {place} ({artifact.stored_bytes / 1e6:.1f} MB of weights)")
    runtime.complete(variant, place)


def _differs(variant: Variant, storage: WriteOptions) -> bool:
    """Whether a checkpoint that is written so is another than the variant's own."""
    products = any(form.parts for form in variant.manifest.weights.values())
    return storage.format.name != variant.manifest.format or (storage.merge and products)


def _beside(variant: Variant, storage: WriteOptions) -> Path:
    """Where a checkpoint that differs from the variant's own goes: ``int4-gptq`` beside ``int4``."""
    if not _differs(variant, storage):
        raise UsageError("--max-shard-size alone only cuts the same checkpoint anew; choose a directory with -o")
    path = variant.path.resolve()
    changed = storage.format.name if storage.format.name != variant.manifest.format else "merged"
    return path.parent / f"{path.name}-{changed}"
