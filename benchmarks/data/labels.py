"""Tokenize labeled text for one model, and choose the metrics measured on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.benchmarks.data.label_file import LabeledLine, read_labeled_lines
from compress.benchmarks.runtime.engine import Ids
from compress.benchmarks.worker.protocol import Encode
from compress.calibration.token_rows import check_tokens
from compress.errors import UsageError
from compress.modeling.classifier import is_multi_label, is_token_classifier, label_names

if TYPE_CHECKING:
    from transformers import BatchEncoding

    from compress.checkpoint.model import Model

ACCURACY: tuple[str, ...] = ("accuracy", "accuracy_ratio")
SPEARMAN: tuple[str, ...] = ("spearman",)
UNLABELED = -1
"""A token that counts nowhere: no first one of a word."""
_LEAST = 3
"""Pairs that a correlation takes."""


@dataclass(frozen=True)
class TokenizedText:
    """Token ids of a text or of a pair of texts; ``token_types`` separate a pair where model and tokenizer do."""

    ids: list[int]
    token_types: list[int]


Line = tuple[tuple[TokenizedText, ...], tuple[float, ...]]
"""A line's texts and its labels."""


@dataclass(frozen=True)
class Labeled:
    """Labeled texts of a file, tokenized, the shortest first.

    ``texts`` has the inputs of every line: one, or the two whose embeddings are compared. ``labels`` has for every line
    the class of each of its outputs (`UNLABELED` where it has none), or its score alone. ``metrics`` are measured.
    """

    origin: str
    metrics: tuple[str, ...]
    texts: tuple[tuple[TokenizedText, ...], ...]
    labels: tuple[tuple[float, ...], ...]
    padding: int

    def __len__(self) -> int:
        return len(self.labels)

    def __str__(self) -> str:
        return f"{self.origin}, {len(self)} texts, {self.metrics[0]}"

    @property
    def columns(self) -> int:
        """Number of texts a line that are encoded separately: two where their embeddings are compared."""
        return len(self.texts[0])

    def batch(self, part: slice, column: int = 0) -> Encode:
        """A request to encode some lines, padded on the right."""
        texts = [line[column] for line in self.texts[part]]
        longest = max(len(text.ids) for text in texts)
        gaps = [longest - len(text.ids) for text in texts]
        return Encode(
            ids=_rows([text.ids + [self.padding] * gap for text, gap in zip(texts, gaps, strict=True)]),
            mask=_rows([[1] * len(text.ids) + [0] * gap for text, gap in zip(texts, gaps, strict=True)]),
            token_types=_rows([text.token_types + [0] * gap for text, gap in zip(texts, gaps, strict=True)]),
        )

    def tokens(self) -> Ids:
        """Every token and label in one row, for a digest."""
        ids = [i for line in self.texts for text in line for i in [*text.ids, *text.token_types]]
        scores = np.array([label for labels in self.labels for label in labels], np.float64)
        return np.concatenate([np.array(ids, np.int64), scores.view(np.int64)])


def _rows(rows: list[list[int]]) -> Ids:
    return np.array(rows, dtype=np.int64)


def read_labeled(path: Path, model: Model) -> Labeled:
    """Read a file of labeled text for a classifier or an encoder.

    Raises UsageError for a decoder, for a file that can't be used, and for a label that the head doesn't have.
    """
    if model.kind.generates_text:
        raise UsageError(
            f"--labels is for classifiers and sentence encoders, but {model.class_name} writes text; leave it out"
        )
    if model.kind.is_vision:
        raise UsageError(f"--labels takes labeled text, and {model.source} reads images; leave it out")
    reader = _LineReader(model)
    fields: tuple[str, ...]
    if not model.kind.has_head:
        metrics, fields, read = SPEARMAN, ("text", "text2", "score"), reader.compared
    elif is_token_classifier(model.class_name):
        metrics, fields, read = ACCURACY, ("tokens", "labels"), reader.tagged
    elif len(label_names(model.config)) == 1:
        metrics, fields, read = SPEARMAN, ("text", "score"), reader.scored
    elif is_multi_label(model.config):
        raise UsageError(f"--labels takes one label a text, but the labels of {model.name} don't exclude each other")
    else:
        metrics, fields, read = ACCURACY, ("text", "label"), reader.classified
    lines = sorted(map(read, read_labeled_lines(path, fields)), key=_length)
    texts, labels = zip(*lines, strict=True)
    ids = {number for line in texts for text in line for number in text.ids}
    check_tokens(model.tokenizer(), ids, model.shape(str(model.architecture.outline.embedding))[0], path.name)
    if metrics == SPEARMAN and (len(labels) < _LEAST or len(set(labels)) < 2):
        raise UsageError(f"{path}: a correlation takes {_LEAST} lines and scores that differ")
    if all(label == UNLABELED for classes in labels for label in classes) and metrics == ACCURACY:
        raise UsageError(f"{path} holds no labels")
    return Labeled(path.name, metrics, texts, labels, reader.padding)


def _length(line: Line) -> int:
    """Tokens of a line's longest text."""
    return max(len(text.ids) for text in line[0])


class _LineReader:
    """Tokenizer of labeled lines for one model, and its class numbers."""

    def __init__(self, model: Model) -> None:
        config = model.config
        self._tokenizer = model.tokenizer()
        self._longest = model.longest_text
        self._tells_pairs = getattr(config, "type_vocab_size", 0) > 1
        self.padding = config.pad_token_id or 0
        self._names = label_names(config)

    def compared(self, entry: LabeledLine) -> Line:
        """Tokenize two texts separately, with the score of their similarity."""
        return (self._text(entry.text("text")), self._text(entry.text("text2"))), (entry.number("score"),)

    def scored(self, entry: LabeledLine) -> Line:
        """Tokenize a text or a pair, with its score."""
        return (self._pair(entry),), (entry.number("score"),)

    def classified(self, entry: LabeledLine) -> Line:
        """Tokenize a text or a pair, with its class."""
        return (self._pair(entry),), (self._class(entry, entry.field("label")),)

    def tagged(self, entry: LabeledLine) -> Line:
        """Tokenize words, with the class of each on its first token."""
        words, labels = entry.field("tokens"), entry.field("labels")
        if not (isinstance(words, list) and words and all(isinstance(word, str) and word for word in words)):
            raise UsageError(f"{entry.where}: tokens is no list of words")
        if not isinstance(labels, list) or len(labels) != len(words):
            raise UsageError(f"{entry.where}: labels is no list of {len(words)} classes, one a token")
        classes = [self._class(entry, label) for label in labels]
        encoding = self._tokenize(" ".join(words), None, return_offsets_mapping=True, return_special_tokens_mask=True)
        ends = np.cumsum([len(word) + 1 for word in words]) - 1  # a blank is the next word's, as in byte-level tokens
        tags, last = [], -1
        for (begin, end), special in zip(encoding["offset_mapping"], encoding["special_tokens_mask"], strict=True):
            word = last if special else int(np.searchsorted(ends, max(begin, end - 1), side="right"))
            tags.append(classes[word] if word > last else UNLABELED)
            last = max(word, last)
        return (TokenizedText(encoding["input_ids"], [0] * len(tags)),), tuple(tags)

    def _class(self, entry: LabeledLine, label: object) -> int:
        """The number of a class, from its name or its number; names go first."""
        text = str(label).strip()
        if text in self._names:
            return self._names.index(text)
        if text.isdecimal() and int(text) < len(self._names):
            return int(text)
        names = ", ".join(self._names[:20]) + (", …" if len(self._names) > 20 else "")
        raise UsageError(
            f"{entry.where}: the head has no label {text!r}; it has {names}, or by number 0 to {len(self._names) - 1}"
        )

    def _pair(self, entry: LabeledLine) -> TokenizedText:
        second = entry.text("text2") if entry.fields.get("text2") not in (None, "") else None
        return self._text(entry.text("text"), second)

    def _text(self, text: str, second: str | None = None) -> TokenizedText:
        encoding = self._tokenize(text, second)
        token_types = encoding.get("token_type_ids") if self._tells_pairs else None
        return TokenizedText(list(encoding["input_ids"]), list(token_types or [0] * len(encoding["input_ids"])))

    def _tokenize(self, text: str, second: str | None, **options: bool) -> BatchEncoding:
        encoding: BatchEncoding = self._tokenizer(
            text, second, truncation=True, max_length=self._longest, verbose=False, **options
        )
        return encoding
