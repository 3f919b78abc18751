"""Text of any length as a stream of pieces, from its start or from a place inside it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from compress.corpus.decode import PIECE

_LONGEST_WORD = 1000
"""characters within which a word ends where it is none of a language without blanks"""


class TextSource(ABC):
    """A text of any length, read as a stream of pieces."""

    name: str

    @abstractmethod
    def read(self) -> Iterator[str]:
        """The text from its start."""

    def read_from(self, share: float) -> Iterator[str] | None:
        """The text from a place on, 0 its start and 1 its end; None where it can only be read from its start."""
        return None


@dataclass(frozen=True)
class InMemory(TextSource):
    """A text that is in memory."""

    text: str
    name: str

    def read(self) -> Iterator[str]:
        """The text in pieces."""
        return self._pieces(0)

    def read_from(self, share: float) -> Iterator[str] | None:
        """The text from the first word behind a character."""
        begin = int(share * len(self.text))
        return from_next_word(self._pieces(begin)) if begin else self._pieces(0)

    def _pieces(self, start: int) -> Iterator[str]:
        return (self.text[begin : begin + PIECE] for begin in range(start, len(self.text), PIECE))


def chained(texts: Iterable[Iterator[str]]) -> Iterator[str]:
    """Texts, a blank line between those that hold any."""
    is_first = True
    for text in texts:
        begin = next((piece for piece in text if piece), None)
        if begin is None:
            continue
        if not is_first:
            yield "\n\n"
        is_first = False
        yield begin
        yield from text


def from_next_word(pieces: Iterator[str]) -> Iterator[str]:
    """The text without its first word, which may be half of one; with it where there is none behind it."""
    first = next(pieces, "")
    blank = next((i for i, char in enumerate(first[:_LONGEST_WORD]) if char.isspace()), -1)
    yield first[blank + 1 :]
    yield from pieces


def from_next_line(pieces: Iterator[str]) -> Iterator[str]:
    """The text without its first line, which may be half of one; nothing where it has no other."""
    for piece in pieces:
        _, end, rest = piece.partition("\n")
        if end:
            yield rest
            break
    yield from pieces
