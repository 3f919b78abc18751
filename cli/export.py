"""``compress export``: export a variant to a target again."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click

from compress.cli.console import Console
from compress.cli.options import overwrite
from compress.export.target import find_target
from compress.pipeline import Pipeline
from compress.staging import staged
from compress.variant import Variant


@click.command("export")
@click.argument("path", type=click.Path(path_type=Path), metavar="VARIANT")
@click.option("--target", default="ort-cpu", show_default=True, help="Where the artifact is to run.")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path),
    help="Where it goes.  [default: the variant's own onnx/, which is made again]",
)  # fmt: skip
@overwrite
def command(path: Path, target: str, out: Path | None, overwrite: bool) -> None:
    """Export VARIANT to a target again."""
    console = Console()
    runtime = find_target(target)
    variant = Variant.open(path)
    pipeline = Pipeline.parse(variant.manifest.pipeline)
    runtime.check(pipeline.passes)
    place = out or path / runtime.folder
    again = overwrite or out is None  # a variant's own artifact holds nothing that its integers don't
    with ExitStack() as stack:
        stage = place if not (out or runtime.folder) else stack.enter_context(staged(place, again))
        stack.enter_context(console.waiting(f"exporting {path} to {runtime.name}"))
        artifact = runtime.export(variant, pipeline.graph_passes, stage, console)
    console.say(f"made {place} ({artifact.stored_bytes / 1e6:.1f} MB of weights)")
