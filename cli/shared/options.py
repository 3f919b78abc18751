"""Click options that several subcommands share."""

from __future__ import annotations

import os
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from compress.cli.shared.completion import complete_profiles
from compress.errors import unknown
from compress.export import targets as targets_room
from compress.system.cores import most_threads


class Word(click.Choice[str]):
    """One of some words; for any other the nearest one is named, by the ``category`` that they are of."""

    def __init__(self, category: str, words: list[str]) -> None:
        super().__init__(words)
        self.category = category

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word itself; a UsageError where it is none."""
        if value not in self.choices:
            raise unknown(self.category, str(value), self.choices)
        return str(value)


class Words(Word):
    """A list of such words, separated by commas."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The list itself; a UsageError where one of them is none."""
        for word in str(value).split(","):
            super().convert(word, param, ctx)
        return str(value)


class FilePath(click.Path):
    """A path; an empty one, as a variable that isn't set leaves, is refused: it would be the current folder."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path, a leading ``~`` expanded: shells leave it in ``--out=~/out``."""
        if not str(value).strip():
            self.fail("it is empty; give a path", param, ctx)
        return super().convert(os.path.expanduser(value), param, ctx)


def _target_names() -> list[str]:
    """Names of the targets, by the files of their room: `--help` shouldn't wait for what they import."""
    modules = pkgutil.iter_modules(targets_room.__path__)
    return sorted(module.name.replace("_", "-") for module in modules if module.name != "base")


def target(default: str) -> Callable[[Callable[..., Any]], Any]:
    """The option ``--target`` of commands that take one."""
    words = Word("target", _target_names())
    return click.option("--target", type=words, default=default, show_default=True, help="Target runtime.")


def targets(
    text: str = "Target runtime; several, such as ort-cpu,gguf, get artifacts of the same weights and one table.",
) -> Callable[[Callable[..., Any]], Any]:
    """The option ``--target`` of commands that take several, listed or repeated; without it they are the profile's."""
    return click.option(
        "--target",
        type=Words("target", _target_names()),
        multiple=True,
        callback=lambda context, option, lists: ",".join(lists) or None,
        metavar="LIST",
        help=f"{text}  [default: the profile's]",
    )


def _limit_threads(context: click.Context, option: click.Parameter, count: int | None) -> int | None:
    """Have libraries take so many threads: those that load from now on, and torch where it is loaded already."""
    if count is not None:
        if count > (most := most_threads()):
            raise click.BadParameter(f"{count} is too many for this machine; give {most} at most", context, option)
        os.environ["OMP_NUM_THREADS"] = str(count)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(count)
    return count


threads = click.option(
    "--threads",
    type=click.IntRange(min=1),
    callback=_limit_threads,
    help="Number of threads.  [default: that of a profile, else OMP_NUM_THREADS, else the physical cores that this "
    "process may use]",
)


def _parse_size(context: click.Context, option: click.Parameter, text: str | None) -> int | None:
    """Bytes, from a size as transformers writes it (``2GB``, ``500MiB``)."""
    if text is None:
        return None
    from transformers.utils.hub import convert_file_size_to_int  # here: `--help` shouldn't wait for it

    try:
        size = int(convert_file_size_to_int(text))
    except ValueError:
        size = 0
    if size <= 0:
        raise click.BadParameter(f"{text!r} is not a size; write it like 2GB or 500MiB", context, option)
    return size


def _parse_task_names(context: click.Context, option: click.Parameter, text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    from compress.benchmarks.data.tasks import split_specs  # here: `--help` shouldn't wait for torch

    return split_specs(text)


evaluation_file = click.option(
    "--eval",
    "evaluation",
    metavar="TEXT",
    help="Evaluation data, as --calibration takes it: a file or folder of text, JSON, CSV or Parquet, or "
    "hf://datasets/OWNER/NAME; for vision models a folder of images or an .npy file of pixels.  "
    "[default: a packaged sample of Wikipedia, or text that the model writes where its tokenizer isn't made for "
    "English; generated noise images]",
)
allow_overlap = click.option(
    "--allow-overlap", is_flag=True, help="Evaluate even on text (or images) that calibrated a variant."
)
evaluation_windows = click.option(
    "--eval-windows",
    type=click.IntRange(min=2),
    help="Number of evaluation windows or images.  [default: 8 windows of a decoder, 64 of others, and up to 256 of a "
    "text until every ratio to the original is known to ±0.5 % or two minutes are over]",
)
quick = click.option("--quick", is_flag=True, help="Score on few windows and in three launches of a round each.")
labels_file = click.option(
    "--labels",
    type=FilePath(),
    metavar="FILE",
    help="Labeled evaluation data: TSV with a header, or JSON lines. Fields: text and label (and text2 for pairs) for "
    "classifiers; text, text2 and score for sentence embeddings.",
)
task_names = click.option(
    "--tasks",
    "task_names",
    metavar="LIST",
    callback=_parse_task_names,
    help="lm-eval tasks to evaluate a decoder on, by name or as YAML files: arc_easy,my/task.yaml. Needs "
    "compress-models[eval].",
)
merge = click.option(
    "--merge",
    is_flag=True,
    help="Store low-rank products (lowrank, compensate) multiplied out, for targets that can't hold them.",
)
checkpoint_format = click.option(
    "--format",
    "checkpoint_format",
    metavar="FORMAT",
    help="Checkpoint format for --target hf: compressed-tensors, gptq or awq.  [default: compressed-tensors, or the "
    "variant's own]",
)
context = click.option(
    "--context",
    type=click.IntRange(min=2),
    metavar="TOKENS",
    help="Longest text, prompt and answer, that a decoder's artifact is to serve; what it has for every position ends "
    "there.  [default: the model's own]",
)
max_shard_size = click.option(
    "--max-shard-size",
    "shard_bytes",
    metavar="SIZE",
    callback=_parse_size,
    help="Maximum size of one checkpoint file, e.g. 2GB.  [default: 4GiB]",
)
seed = click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 2), help="Random seed.")
overwrite = click.option("--overwrite", is_flag=True, help="Replace existing outputs.")
trust_remote_code = click.option(
    "--trust-remote-code",
    is_flag=True,
    help="Allow pickled weights, checkpoints with custom code (which is never run), and task files that run code.",
)
dequantize = click.option(
    "--dequantize",
    is_flag=True,
    help="Read a checkpoint that is quantized already as floats (fp8, compressed-tensors, gptq, awq, bitsandbytes).",
)
require = click.option(
    "--require",
    multiple=True,
    metavar="LIST",
    help="Requirements that every variant must meet, or exit with code 1: "
    '"retention>=0.98, decode_speedup>=1.5, bytes<=0.3x, peak_rss<2GB".',
)
every_figure = click.option(
    "--all", "every_figure", is_flag=True, help="Print every figure, not eight of each variant."
)
strict = click.option("--strict", is_flag=True, help="Treat inconclusive results as failures.")
profile = click.option(
    "--profile",
    default="cpu",
    show_default=True,
    shell_complete=complete_profiles,
    help="Machine profile: its name, or a TOML file.",
)
