"""Options for what is timed: ``--launches``, ``--seq``, ``--batch``, ``--beams``, ``--sample`` of `run` and `score`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from compress.errors import UsageError, unknown

if TYPE_CHECKING:
    from compress.benchmarks.runtime.decoding import Sampling
    from compress.checkpoint.model import Model

_FLOAT32_BYTES = 4


@dataclass(frozen=True)
class SpeedOptions:
    """Launches of every contender, and measurements beyond the usual: lengths, batch sizes, beam search, sampling."""

    launches: int | None = None
    lengths: tuple[int, ...] = ()
    batches: tuple[int, ...] = ()
    beams: int | None = None
    sampling: Sampling | None = None

    def __bool__(self) -> bool:
        return bool(self.launches or self._more)

    @property
    def _more(self) -> bool:
        """Whether anything beyond the usual is to be measured."""
        return bool(self.lengths or self.batches or self.beams or self.sampling)

    def settings(self, model: Model) -> dict[str, Any]:
        """The fields of `Settings` that ask for them; a UsageError where the model or this machine can't do that."""
        launches = {"launches": self.launches, "patience": 0.0} if self.launches else {}
        if not self._more:
            return launches
        if model.kind.is_vision:
            raise UsageError(f"{model.source} is a vision model; remove --seq, --batch, --beams and --sample")

        longest = model.longest_served
        if not model.kind.generates_text and (self.beams or self.sampling):
            raise UsageError(f"{model.source} does not generate text; remove --beams and --sample")
        if self.beams and self.beams > (words := model.config.vocab_size):
            raise UsageError(f"--beams {self.beams} exceeds the vocabulary of {model.source}, {words} tokens")
        if self.lengths and (length := max(self.lengths)) > longest:
            raise UsageError(f"--seq {length} exceeds the longest input of {model.source}, {longest} tokens")
        if model.kind.is_decoder_only:
            self._check_memory(model.config.vocab_size)
        more = {"lengths": self.lengths, "batches": self.batches, "beams": self.beams, "sampling": self.sampling}
        return launches | more | {"longest": longest}

    def _check_memory(self, vocabulary: int) -> None:
        """Exported graphs write the logits of every token of every prompt."""
        import psutil

        from compress.benchmarks.results.scorecard import Settings

        length, batch = max(self.lengths, default=Settings().prompt), max(self.batches, default=1)
        needed, free = length * batch * vocabulary * _FLOAT32_BYTES, psutil.virtual_memory().available
        if needed > free:
            raise UsageError(
                f"{batch} prompts of {length} tokens need {needed / 1e9:.1f} GB for their logits alone, but "
                f"{free / 1e9:.1f} GB of memory are free; reduce --batch or --seq"
            )


def speed_options(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command with the options, which it gets as one argument ``speed``."""

    @wraps(command)
    def wrapped(
        *args: Any,
        launches: int | None,
        lengths: tuple[int, ...],
        batches: tuple[int, ...],
        beams: int | None,
        sampling: Sampling | None,
        **options: Any,
    ) -> None:
        command(*args, speed=SpeedOptions(launches, lengths, batches, beams, sampling), **options)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def _parse_counts(context: click.Context, option: click.Parameter, text: str | None) -> tuple[int, ...]:
    """``256,512``: positive integers, none of them twice."""
    if text is None:
        return ()
    words = [word.strip() for word in text.split(",")]
    if "" in words:
        raise click.BadParameter("a number is missing between commas; write a list like 1,4,16", context, option)
    if bad := next((word for word in words if not word.isdecimal() or int(word) < 1), None):
        raise click.BadParameter(f"{bad!r} is not a positive integer; write a list like 1,4,16", context, option)
    counts = tuple(map(int, words))
    if repeated := next((count for count in counts if counts.count(count) > 1), None):
        raise click.BadParameter(f"{repeated} is given twice", context, option)
    return counts


_RANGES: dict[str, click.ParamType[Any]] = {
    "top_k": click.IntRange(min=0),
    "top_p": click.FloatRange(0, 1, min_open=True),
    "temperature": click.FloatRange(0, min_open=True),
}


def _parse_sampling(context: click.Context, option: click.Parameter, text: str | None) -> Sampling | None:
    """``top_k=50,top_p=0.9,temperature=0.8``; parameters that aren't named keep transformers' defaults."""
    if text is None:
        return None
    from compress.benchmarks.runtime.decoding import Sampling

    names = [field.name for field in fields(Sampling)]
    values: dict[str, Any] = {}
    for word in text.split(","):
        name, equals, value = (part.strip() for part in word.partition("="))
        if name not in names:
            raise unknown("option of --sample", name, names)
        if not equals or name in values:
            problem = "is given twice" if name in values else "has no value"
            raise click.BadParameter(f"{name} {problem}; write a list like top_k=50,top_p=0.9", context, option)
        values[name] = _RANGES[name].convert(value, option, context)
    return Sampling(**values)


_OPTIONS = (
    click.option(
        "--launches",
        type=click.IntRange(min=1),
        help="Number of fresh processes in which each contender's speed is measured.  [default: 3, and more until "
        "every ratio of speed to the original is known to ±3 % or two minutes a contender are over]",
    ),
    click.option(
        "--seq",
        "lengths",
        metavar="LIST",
        callback=_parse_counts,
        help="Also measure speed at these input lengths, e.g. 256,512,1024,2048.",
    ),
    click.option(
        "--batch",
        "batches",
        metavar="LIST",
        callback=_parse_counts,
        help="Also measure speed at these batch sizes, e.g. 1,4,16; with --seq, at every length.",
    ),
    click.option("--beams", type=click.IntRange(min=2), help="Also measure beam search with this many beams."),
    click.option(
        "--sample",
        "sampling",
        metavar="LIST",
        callback=_parse_sampling,
        help='Also measure decoding by sampling, e.g. "top_k=50,top_p=0.9,temperature=0.8".',
    ),
)
