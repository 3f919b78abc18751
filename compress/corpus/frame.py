"""Special tokens that a tokenizer puts around a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from compress.errors import ModelError
from compress.modeling.quiet import first_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SAMPLE = "text"


@dataclass(frozen=True)
class Frame:
    """Tokens that a tokenizer puts around a text: ``prefix`` before it, ``suffix`` behind it."""

    prefix: tuple[int, ...] = ()
    suffix: tuple[int, ...] = ()

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, closed: bool) -> Frame:
        """The frame of a tokenizer; ``closed``: texts also end as it ends them, as encoders are used to."""
        text = token_ids(tokenizer, _SAMPLE)
        framed: list[int] = tokenizer(_SAMPLE, verbose=False)["input_ids"]
        for begin in range(len(framed) - len(text) + 1):
            end = begin + len(text)
            if framed[begin:end] == text:
                return cls(tuple(framed[:begin]), tuple(framed[end:]) if closed else ())
        return cls()

    def __len__(self) -> int:
        return len(self.prefix) + len(self.suffix)

    def around(self, rows: Tensor) -> Tensor:
        """Rows ``[n, s]`` with the frame around each."""
        parts = [torch.tensor([ids] * len(rows), dtype=torch.int64) for ids in (self.prefix, self.suffix)]
        return torch.cat([parts[0].reshape(len(rows), -1), rows, parts[1].reshape(len(rows), -1)], dim=1)


def token_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of a text without special tokens around it; a ModelError where the tokenizer can't read it."""
    try:
        ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    except Exception as error:  # tokenizers raises plain exceptions, of a vocabulary without an unknown word
        raise ModelError(f"the tokenizer can't read the text ({first_line(error)})") from error
    return ids
