"""Aliases of options: other projects' names for them (llm-compressor, compressed-tensors, GPTQModel)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Alias:
    """Another name of an ``option``, or of something that the pass itself fixes (None).

    ``convert`` gets the pass class and a value as the other project writes it, and returns the option's; its ValueError
    says why there is none.
    """

    option: str | None
    convert: Callable[[type, str], str] = lambda pass_type, value: value


def choose(values: Mapping[str, str], refused: Mapping[str, str] | None = None) -> Callable[[type, str], str]:
    """A conversion of words by a table, upper and lower case alike; ``refused`` ones come with the reason."""

    def convert(pass_type: type, value: str) -> str:
        word = value.lower()
        if refused and word in refused:
            raise ValueError(refused[word])
        if word not in values:
            raise ValueError(f"it should be {' or '.join(values)}")
        return values[word]

    return convert
