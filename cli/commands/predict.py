"""Predict the size of variants from config.json alone."""

from __future__ import annotations

from pathlib import Path

import click

from compress.cli.console import Console
from compress.cli.shared.completion import complete_passes
from compress.cli.shared.options import FilePath, target

_HEADERS = ["variant", "MB of weights", "of the original", "bits per weight"]


@click.command("predict")
@click.argument("path", type=FilePath(), metavar="DIRECTORY")
@click.option(
    "-p",
    "--pipeline",
    "pipelines",
    multiple=True,
    required=True,
    metavar="PASSES",
    shell_complete=complete_passes,
    help="Passes in order, e.g. lowrank:rank=0.5,int4; repeat for more variants.",
)
@target("ort-cpu")
def command(path: Path, pipelines: tuple[str, ...], target: str) -> None:
    """Predict the size of variants from the config.json in DIRECTORY; weights are not needed."""
    from compress.checkpoint.sentence.listing import transformer_folder
    from compress.modeling.config_file import read_config
    from compress.pipeline.parse import Pipeline

    parsed = [Pipeline.parse(text) for text in pipelines]
    read_config(transformer_folder(path))

    from compress.export.targets.base import find_target  # after these: a mistake in them waits for no torch
    from compress.pipeline.predict import ConfigOnlyModel, predict

    console, runtime = Console(), find_target(target)
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
