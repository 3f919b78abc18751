"""Texts that come along with the program: a sample of Wikipedia to evaluate on."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING

from compress.corpus.frame import token_ids
from compress.corpus.stream import InMemory
from compress.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEXTS = Path(__file__).with_name("texts")
"""The texts, and their origin and licenses."""
EVALUATION = TEXTS / "evaluation"
"""What accuracy is measured on."""
WIKIPEDIA = EVALUATION / "wikipedia.txt"
"""A sample of Wikipedia."""
_DECLARATION = TEXTS / "declaration"
"""The same articles in many languages, each in a file by its ISO 639 code."""
_ENGLISH = "en"
_FOREIGN = 4 / 3
"""times as many tokens in English as in another language: a tokenizer that was made for that one"""
_UNKNOWN = 0.05
"""share of a text's tokens that stand for what the tokenizer doesn't know, from which on it doesn't know the text"""
_SPELLED = 1.5
"""characters a token of a text of whose words the tokenizer has hardly any"""


def packaged_evaluation(tokenizer: PreTrainedTokenizerBase) -> InMemory | None:
    """The text to evaluate on, which is English; None where that isn't what a model reads."""
    if not reads_english(tokenizer):
        return None
    return InMemory(WIKIPEDIA.read_text(encoding="utf-8"), f"packaged Wikipedia sample {digest(EVALUATION)[:12]}")


def reads_english(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer was made for English, among other languages or alone.

    It says the same articles in about as few tokens as in any language. One of proteins doesn't know the letters, or
    spells words with single ones, as one of bytes does.
    """
    texts = {file.stem: file.read_text(encoding="utf-8") for file in sorted(_DECLARATION.iterdir())}
    counts = {language: _tokens(tokenizer, text) for language, text in texts.items()}
    return counts[_ENGLISH] <= min(len(texts[_ENGLISH]) / _SPELLED, _FOREIGN * min(counts.values()))


def digest(folder: Path) -> str:
    """SHA-256 of a folder's files and their names."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    total = hashlib.sha256()
    for file in files:
        total.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return total.hexdigest()


def _tokens(tokenizer: PreTrainedTokenizerBase, text: str) -> float:
    """Number of tokens of a text; infinite where the tokenizer doesn't know it."""
    try:
        ids = token_ids(tokenizer, text)
    except ModelError:
        return math.inf
    unknown = ids.count(tokenizer.unk_token_id) if tokenizer.unk_token_id is not None else 0
    return math.inf if not ids or unknown > _UNKNOWN * len(ids) else len(ids)
