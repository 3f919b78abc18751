"""``--seq``, ``--batch``, ``--beams`` and ``--sample``: what `run` and `score` measure besides one usual setting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import wraps
from typing import Any

import click
import psutil

from compress.benchmarks.results.scorecard import Settings
from compress.benchmarks.runtime.decoding import Sampling
from compress.checkpoint.model import Model
from compress.errors import UsageError, unknown
from compress.modeling.architecture import longest_input

_FLOAT32 = 4
"""bytes"""


@dataclass(frozen=True)
class More:
    """What to measure besides, and the settings that say so."""

    lengths: tuple[int, ...]
    batches: tuple[int, ...]
    beams: int | None
    sampling: Sampling | None

    def __bool__(self) -> bool:
        return bool(self.lengths or self.batches or self.beams or self.sampling)

    def settings(self, model: Model) -> dict[str, Any]:
        """The settings for a model; a UsageError where it can't take that in, or this machine can't hold it."""
        if not self:
            return {}
        if model.kind.is_vision:
            raise UsageError(f"{model.source} sees images: leave --seq, --batch, --beams and --sample out")
        longest = longest_input(model.config)
        if not model.kind.generates_text and (self.beams or self.sampling):
            raise UsageError(f"{model.source} embeds and writes nothing: leave --beams and --sample out")
        if self.lengths and (most := max(self.lengths)) > longest:
            raise UsageError(f"--seq {most} is more than {model.source} takes in: {longest} tokens at most")
        if model.kind.is_decoder_only:
            self._check_memory(model.config.vocab_size)
        return asdict(self) | {"longest": longest, "sampling": self.sampling}

    def _check_memory(self, vocabulary: int) -> None:
        """Exported graphs write the logits of every token of every prompt."""
        length, batch = max(self.lengths, default=Settings().prompt), max(self.batches, default=1)
        taken, free = length * batch * vocabulary * _FLOAT32, psutil.virtual_memory().available
        if taken > free:
            raise UsageError(
                f"{batch} prompts of {length} tokens take {taken / 1e9:.1f} GB for their logits alone, and "
                f"{free / 1e9:.1f} GB are free: measure fewer of --batch, or shorter ones of --seq"
            )


def measures_more(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options; they reach it as one argument ``more``."""

    @wraps(command)
    def wrapped(
        *args: Any,
        lengths: tuple[int, ...],
        batches: tuple[int, ...],
        beams: int | None,
        sampling: Sampling | None,
        **others: Any,
    ) -> None:
        command(*args, more=More(lengths, batches, beams, sampling), **others)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def _counts(context: click.Context, option: click.Parameter, text: str | None) -> tuple[int, ...]:
    """``256,512``: whole numbers from 1 on, each once."""
    if text is None:
        return ()
    words = [word.strip() for word in text.split(",")]
    if "" in words:
        raise click.BadParameter("a number is missing between commas; write them like 1,4,16", context, option)
    if odd := next((word for word in words if not word.isdecimal() or int(word) < 1), None):
        raise click.BadParameter(f"{odd!r} is no whole number from 1 on; write them like 1,4,16", context, option)
    counts = tuple(map(int, words))
    if twice := next((count for count in counts if counts.count(count) > 1), None):
        raise click.BadParameter(f"{twice} is given twice", context, option)
    return counts


_RANGES: dict[str, click.ParamType[Any]] = {
    "top_k": click.IntRange(min=0),
    "top_p": click.FloatRange(0, 1, min_open=True),
    "temperature": click.FloatRange(0, min_open=True),
}


def _sampling(context: click.Context, option: click.Parameter, text: str | None) -> Sampling | None:
    """``top_k=50,top_p=0.9,temperature=0.8``; what isn't named is as in transformers."""
    if text is None:
        return None
    known, found = [each.name for each in fields(Sampling)], {}
    for word in text.split(","):
        name, equals, value = (part.strip() for part in word.partition("="))
        if name not in known:
            raise unknown("option of --sample", name, known)
        if not equals or name in found:
            raise click.BadParameter(
                f"{name} is {'given twice' if name in found else 'without value'}", context, option
            )
        found[name] = _RANGES[name].convert(value, option, context)
    return Sampling(**found)


_OPTIONS = (
    click.option(
        "--seq", "lengths", metavar="LIST", callback=_counts,
        help="Also measure speed at these lengths of the input, like 256,512,1024,2048.",
    ),
    click.option(
        "--batch", "batches", metavar="LIST", callback=_counts,
        help="Also measure speed with so many inputs at once, like 1,4,16; with --seq, at each length.",
    ),
    click.option(
        "--beams", type=click.IntRange(min=2), help="Also measure decoding by beam search with so many beams."
    ),
    click.option(
        "--sample", "sampling", metavar="LIST", callback=_sampling,
        help='Also measure decoding by sampling, like "top_k=50,top_p=0.9,temperature=0.8".',
    ),
)  # fmt: skip
