"""Windows of tokens, cut from a text of any length and begun as the tokenizer begins a text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from compress.corpus.frame import Frame, token_ids
from compress.corpus.stream import InMemory, TextSource
from compress.errors import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_PART = 1 << 16
"""characters that are tokenized at a time, a word more or less: a tokenizer takes 200 bytes for each"""
_BETWEEN_WORDS = re.compile(r"(?<=\w) (?=\w)")
_SHORT = 4_000_000
"""characters of a text that is tokenized as a whole"""
_PER_TOKEN = 8
"""characters that a token takes at most, on average"""
_HEADS = 3
"""how many times as much is read of a longer text that can only be read from its start"""
_LEAST = 2
"""tokens of a window that predicts something"""


@dataclass(frozen=True)
class WindowSize:
    """Number and length in tokens of the windows to cut.

    What is fixed is refused where a text is too short; else the text is used as far as it goes. Where a text has room
    for them, up to ``most`` windows are cut, the first ``count`` of them as if there were no others.
    """

    count: int
    length: int
    fixed_count: bool = True
    fixed_length: bool = True
    most: int = 0


def windows(
    tokenizer: PreTrainedTokenizerBase,
    text: str | TextSource,
    size: WindowSize,
    closed: bool = False,
    notice: Callable[[str], None] | None = None,
) -> Tensor:
    """Windows spread evenly over a text and not overlapping: int64 ``[count, length]``, the same for the same text.

    Each begins as the tokenizer begins a text, and ends as it ends one where they are ``closed``. A text of up to some
    millions of characters is tokenized as a whole. Of a longer one, windows are read from places at even distances;
    where it can only be read from its start (a pipe, gzip, CSV, a JSON array, the hub), from its beginning. ``notice``
    is told where that is so, and where a text is short. Raises UsageError for a text that is too short.
    """
    if size.length < 1 or size.count < 1:
        raise UsageError(f"windows need a positive length and count, not {size.length} and {size.count}")
    source = InMemory(text, "the text") if isinstance(text, str) else text
    frame = Frame.of(tokenizer, closed)
    frame = frame if size.length > len(frame) else Frame()
    return frame.around(_Cutter(tokenizer, source, size, size.length - len(frame), notice or (lambda _: None)).rows())


def prompt_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of a text that is to be continued: begun as every text, unless it already is, and not ended."""
    prefix, ids = list(Frame.of(tokenizer, closed=False).prefix), token_ids(tokenizer, text)
    return ids if ids[: len(prefix)] == prefix else prefix + ids


def tokenize(tokenizer: PreTrainedTokenizerBase, pieces: Iterator[str], part: int = _PART) -> Iterator[Tensor]:
    """Token ids of a text in pieces, without special tokens; cut between words, so that they are those of the whole.

    ``part``: about how many characters are tokenized at a time.
    """
    keeps_blank = token_ids(tokenizer, "a word") == [*token_ids(tokenizer, "a"), *token_ids(tokenizer, " word")]
    text = ""
    for piece in pieces:
        text, begin = text + piece, 0
        while len(text) - begin > 2 * part:
            blank = _BETWEEN_WORDS.search(text, begin + part, begin + 2 * part)
            end = begin + part if blank is None else blank.start()
            yield torch.tensor(token_ids(tokenizer, text[begin:end]), dtype=torch.int64)
            begin = end if blank is None or keeps_blank else blank.end()
        text = text[begin:]
    yield torch.tensor(token_ids(tokenizer, text), dtype=torch.int64)


@dataclass(frozen=True)
class _Cutter:
    """Cuts windows of one text, ``body`` tokens each."""

    tokenizer: PreTrainedTokenizerBase
    source: TextSource
    size: WindowSize
    body: int
    notice: Callable[[str], None]

    def rows(self) -> Tensor:
        """The windows, without what frames them."""
        most = max(self.size.count, self.size.most)
        short = max(_SHORT, _PER_TOKEN * most * self.body)
        pieces = self.source.read()
        head, ended = _read(pieces, short)
        if not any(piece.strip() for piece in head):
            raise UsageError(f"{self.source.name} holds no text")
        if ended:
            return self._of_tokens(head)
        places = [start / (1 << 40) for start in _starts(self.size.count, (1 << 40) // self.size.count, most)]
        rows = self._at_places(self.source, places)
        if rows is not None:
            return rows
        more, ended = _read(pieces, _HEADS * short)
        begin = InMemory("".join([*head, *more]), self.source.name)
        if not ended:
            self.notice(f"of {begin.name}, the first {len(begin.text) / 1e6:.0f} million characters are used")
        rows = self._at_places(begin, places)
        return self._of_tokens([begin.text]) if rows is None else rows

    def _of_tokens(self, pieces: list[str]) -> Tensor:
        """Windows of a text that is tokenized as a whole."""
        ids = torch.cat(list(tokenize(self.tokenizer, iter(pieces))))
        count, body = self._available(len(ids))
        step = max((len(ids) - body) // count, body)
        starts = _starts(count, step, min(self.size.most, count * max(step // body, 1)))
        return torch.stack([ids[start : start + body] for start in starts])

    def _available(self, tokens: int) -> tuple[int, int]:
        """Number and length of the windows that a text of so many tokens has."""
        size, body, name = self.size, self.body, self.source.name
        if tokens >= size.count * body:
            return size.count, body
        if size.fixed_count or (size.fixed_length and tokens < body) or tokens < _LEAST:
            raise UsageError(
                f"{name} has {tokens} tokens, too few for {size.count} windows of {size.length}; give a longer text"
            )
        count = tokens // body if size.fixed_length else -(-tokens // body)
        body = body if size.fixed_length else tokens // count
        length = size.length - self.body + body
        self.notice(
            f"{name} is short, {tokens} tokens: {count} window{'s' * (count > 1)} of {length} instead of "
            f"{size.count} of {size.length}"
        )
        return count, body

    def _at_places(self, source: TextSource, places: list[float]) -> Tensor | None:
        """Windows from places on; None where a text can't be entered there, or places come to the same text."""
        rows = []
        for place in places:
            pieces = source.read_from(place)
            ids = None if pieces is None else self._first_tokens(pieces)
            if ids is None:
                return None
            rows.append(ids)
        stacked = torch.stack(rows)
        return stacked if len(stacked.unique(dim=0)) == len(stacked) else None

    def _first_tokens(self, pieces: Iterator[str]) -> Tensor | None:
        """The first tokens of a text, as many as a window has; None where there are fewer."""
        parts, size = [], 0
        for ids in tokenize(self.tokenizer, pieces, _PER_TOKEN * self.body):
            parts.append(ids)
            size += len(ids)
            if size >= self.body:
                return torch.cat(parts)[: self.body]
        return None


def _starts(count: int, step: int, most: int) -> list[int]:
    """Multiples of a ``step``, then what halves the distances, while there are no more than ``most``."""
    starts, parts = [i * step for i in range(count)], 2
    while count * parts <= most:
        starts += [i * step + step * part // parts for part in range(1, parts, 2) for i in range(count)]
        parts *= 2
    return starts


def _read(pieces: Iterator[str], most: int) -> tuple[list[str], bool]:
    """Pieces of up to about so many characters, and whether there are no others."""
    read, size = [], 0
    for piece in pieces:
        read.append(piece)
        size += len(piece)
        if size > most:
            return read, False
    return read, True
