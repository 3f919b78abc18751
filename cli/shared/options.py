"""Options that several subcommands share."""

from __future__ import annotations

from pathlib import Path

import click


def _parse_size(context: click.Context, option: click.Parameter, size: str | None) -> int | None:
    """Bytes, as transformers reads a size."""
    if size is None:
        return None
    from transformers.utils.hub import convert_file_size_to_int  # here: `--help` shouldn't wait for it

    try:
        found = int(convert_file_size_to_int(size))
    except ValueError:
        found = 0
    if found <= 0:
        raise click.BadParameter(f"{size!r} is no size; write it like 2GB or 500MiB", context, option)
    return found


evaluation_file = click.option(
    "--eval",
    "evaluation",
    type=click.Path(path_type=Path),
    help="Text (or JSON lines) to measure accuracy on; for a model that sees, a folder of images or an .npy file of "
    "pixels.  [default: a demo's held-out text, else self-written; noise like images]",
)
labels_file = click.option(
    "--labels", type=click.Path(path_type=Path), metavar="FILE",
    help="Labelled text to measure accuracy on: TSV with a header, or JSON lines. Fields text and label (text2 for "
    "pairs) for a classifier; text, text2 and score for sentence embeddings.",
)  # fmt: skip


def _specs(context: click.Context, option: click.Parameter, text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    from compress.benchmarks.data.tasks import split_specs  # here: `--help` shouldn't wait for torch

    return split_specs(text)


tasks = click.option(
    "--tasks", metavar="LIST", callback=_specs,
    help="Tasks of lm-eval to measure a decoder on, by name or as files: arc_easy,my/task.yaml. Needs the extra eval.",
)  # fmt: skip
merge = click.option(
    "--merge", is_flag=True, help="Store products (lowrank, compensate) multiplied out, for targets without them."
)
checkpoint_format = click.option(
    "--format", "checkpoint_format", metavar="FORMAT",
    help="Of the checkpoint, for --target hf, such as gptq or awq.  [default: compressed-tensors, or a variant's own]",
)  # fmt: skip
max_shard_size = click.option(
    "--max-shard-size", "shard_bytes", metavar="SIZE", callback=_parse_size,
    help="What a file of the checkpoint takes at most, like 2GB.  [default: 4GiB]",
)  # fmt: skip
seed = click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 2), help="Of everything random."
)
overwrite = click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
trust_remote_code = click.option(
    "--trust-remote-code", is_flag=True, help="Accept pickled weights, and checkpoints that bring code (not run)."
)
require = click.option(
    "--require", multiple=True, metavar="LIST",
    help='What every variant must meet, or exit 1: "retention>=0.98, decode_speedup>=1.5, bytes<=0.3x, peak_rss<2GB".',
)  # fmt: skip
strict = click.option("--strict", is_flag=True, help="What lies inside the noise fails too.")
profile = click.option(
    "--profile", default="cpu", show_default=True, help="A machine's profile: its name or a TOML file."
)  # fmt: skip
