"""``compress predict``: tell how large variants will be, from config.json alone."""

from __future__ import annotations

from pathlib import Path

import click

from compress.cli.console import Console
from compress.export.targets.base import find_target
from compress.pipeline.parse import Pipeline
from compress.pipeline.predict import ConfigOnlyModel, predict

_HEADERS = ["variant", "MB of weights", "of the original", "bits a weight"]


@click.command("predict")
@click.argument("path", type=click.Path(path_type=Path), metavar="DIRECTORY")
@click.option(
    "-p", "--pipeline", "pipelines", multiple=True, required=True, metavar="PASSES",
    help="Passes in order, like lowrank:rank=0.5,int4; once for each variant.",
)  # fmt: skip
@click.option("--target", default="ort-cpu", show_default=True, help="Where the variants are to run.")
def command(path: Path, pipelines: tuple[str, ...], target: str) -> None:
    """Predict the bytes of variants of the model whose config.json is in DIRECTORY; weights are not needed."""
    console = Console()
    runtime = find_target(target)
    parsed = [Pipeline.parse(text) for text in pipelines]
    for pipeline in parsed:
        runtime.check(pipeline.passes)
    sketch = ConfigOnlyModel.read(path)
    original = predict(sketch, None, runtime.capability)
    variants = {str(pipeline): predict(sketch, pipeline, runtime.capability) for pipeline in parsed}
    rows = []
    for name, found in {"original": original, **variants}.items():
        share = 100 * found.nbytes / original.nbytes
        rows.append([name, f"{found.nbytes / 1e6:,.1f}", f"{share:.1f} %", f"{found.bits_per_weight:.2f}"])
    console.show(_HEADERS, rows)
