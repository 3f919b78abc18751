"""Compress a model, export and score every variant (the default)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compress.cli.console import Console
from compress.cli.shared.completion import complete_passes
from compress.cli.shared.measuring import speed_options
from compress.cli.shared.options import (
    FilePath,
    allow_overlap,
    checkpoint_format,
    context,
    dequantize,
    evaluation_file,
    evaluation_windows,
    every_figure,
    labels_file,
    max_shard_size,
    merge,
    overwrite,
    profile,
    quick,
    require,
    seed,
    strict,
    targets,
    task_names,
    threads,
    trust_remote_code,
)


@click.command("run")
@click.argument("source", metavar="MODEL")
@click.option(
    "-p",
    "--pipeline",
    "pipelines",
    multiple=True,
    metavar="PASSES",
    shell_complete=complete_passes,
    help="Passes in order, e.g. int8,fuse or int8:group=32,fuse; repeat for more variants.  [default: the profile's]",
)
@click.option(
    "-o",
    "--out",
    type=FilePath(),
    default=Path("out"),
    show_default=True,
    help="Output directory for the variants and the report.",
)
@profile
@targets()
@click.option(
    "--calibration",
    metavar="TEXT",
    help="Calibration data: a file or folder of text, JSON, CSV or Parquet, or hf://datasets/OWNER/NAME, with :COLUMN "
    "behind it where one is to be named; for vision models a folder of images or an .npy file of pixels.  "
    "[default: text that the model writes; generated noise images]",
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    help="Number of calibration windows or images; a text without so many is refused.  [default: 16 windows, for "
    "solvers 128 of a text, or as many as it has, or 64 that the model writes; 32 images, for solvers 256]",
)
@click.option(
    "--length", type=click.IntRange(min=8), help="Tokens per calibration window.  [default: 256; for solvers 512]"
)
@click.option("--ablate", is_flag=True, help="Also build each variant without each of its passes (ablation).")
@click.option("--no-score", is_flag=True, help="Build the variants, but don't measure them.")
@evaluation_file
@evaluation_windows
@quick
@allow_overlap
@labels_file
@task_names
@speed_options
@require
@strict
@every_figure
@context
@checkpoint_format
@max_shard_size
@merge
@seed
@overwrite
@threads
@trust_remote_code
@dequantize
def command(**options: Any) -> None:
    """Compress MODEL, export and score every variant.

    MODEL is a directory, a Hugging Face Hub id, or a demo (demo:smollm2, demo:minilm).
    """
    from compress.cli.run.plan import RunRequest, check

    request, console = RunRequest(**options), Console()
    plan = check(request)

    from compress.cli.run.steps import complete, gate, make_variants, open_model, resolve, score

    model = open_model(plan, console)
    inputs = resolve(plan, model, console)
    variants = make_variants(plan, inputs, console)
    complete(plan, variants, console)
    if request.no_score:
        return
    card = score(plan, inputs, variants, console)
    gate(plan, card, console)
