"""Predict the size of variants from config.json alone."""

from __future__ import annotations

from pathlib import Path

import click

from compress.cli.console import Console
from compress.export.targets.base import find_target
from compress.pipeline.parse import Pipeline
from compress.pipeline.predict import ConfigOnlyModel, predict

_HEADERS = ["variant", "MB of weights", "of the original", "bits per weight"]


@click.command("predict")
@click.argument("path", type=click.Path(path_type=Path), metavar="DIRECTORY")
@click.option(
    "-p",
    "--pipeline",
    "pipelines",
    multiple=True,
    required=True,
    metavar="PASSES",
    help="Passes in order, e.g. lowrank:rank=0.5,int4; repeat for more variants.",
)
@click.option("--target", default="ort-cpu", show_default=True, help="Target runtime.")
def command(path: Path, pipelines: tuple[str, ...], target: str) -> None:
    """Predict the size of variants from the config.json in DIRECTORY; weights are not needed."""
    console = Console()
    runtime = find_target(target)
    parsed = [Pipeline.parse(text) for text in pipelines]
    for pipeline in parsed:
        runtime.check(pipeline.passes)
    model = ConfigOnlyModel.read(path)
    original = predict(model, None, runtime.capability)
    variants = {str(pipeline): predict(model, pipeline, runtime.capability) for pipeline in parsed}
    rows = []
    for name, size in {"original": original, **variants}.items():
        percent = 100 * size.nbytes / original.nbytes
        rows.append([name, f"{size.nbytes / 1e6:,.1f}", f"{percent:.1f} %", f"{size.bits_per_weight:.2f}"])
    console.show(_HEADERS, rows)
