"""Export a variant to a target runtime, without compressing it again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from compress.checkpoint.locate import check_variant
from compress.cli.console import Console
from compress.cli.shared.options import (
    FilePath,
    checkpoint_format,
    context,
    max_shard_size,
    merge,
    overwrite,
    target,
    threads,
)

if TYPE_CHECKING:
    from compress.export.lowering.float_graph import GraphSource


@click.command("export")
@click.argument("path", type=FilePath(), metavar="VARIANT")
@target("ort-cpu")
@click.option(
    "-o",
    "--out",
    type=FilePath(),
    help="Output directory.  [default: the target's directory inside the variant, which is replaced; for another "
    "checkpoint format a directory next to the variant, e.g. int4-gptq next to int4]",
)
@click.option(
    "--graph",
    type=click.Choice(["auto", "built", "traced"]),
    help="Graph source: built from an architecture description, or traced by torch.  [default: auto, built where that "
    "is possible and correct]",
)
@context
@checkpoint_format
@max_shard_size
@merge
@overwrite
@threads
def command(
    path: Path,
    target: str,
    out: Path | None,
    graph: GraphSource | None,
    context: int | None,
    checkpoint_format: str | None,
    shard_bytes: int | None,
    merge: bool,
    overwrite: bool,
    threads: int | None,
) -> None:
    """Export VARIANT to a target runtime, without compressing it again."""
    check_variant(path)

    from compress.api.export import plan_export  # after this: a mistake in it waits for no torch
    from compress.checkpoint.variant import Variant
    from compress.export.targets.base import find_target

    console = Console()
    runtime = find_target(target)
    plan = plan_export(
        Variant.open(path),
        runtime,
        out,
        graph=graph,
        context=context,
        checkpoint_format=checkpoint_format,
        max_shard_bytes=shard_bytes,
        merge=merge,
        overwrite=overwrite,
    )
    artifact = plan.run(console)
    console.say(f"wrote {plan.path} ({artifact.stored_bytes / 1e6:.1f} MB of weights)")
    plan.complete()
