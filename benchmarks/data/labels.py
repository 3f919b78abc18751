"""Labelled text, tokenized for one model, and what is measured on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.benchmarks.data.label_file import LabelledLine, read_labelled_lines
from compress.errors import UsageError
from compress.modeling.architecture import longest_input
from compress.modeling.classifier import is_multi_label, is_token_classifier, label_names

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from compress.benchmarks.runtime.engine import Ids
    from compress.checkpoint.model import Model

ACCURACY: tuple[str, ...] = ("accuracy", "accuracy_ratio")
SPEARMAN: tuple[str, ...] = ("spearman",)
UNLABELLED = -1
"""A token that counts nowhere: no first one of a word."""
_LEAST = 3
"""Pairs that a correlation takes."""


@dataclass(frozen=True)
class Encoded:
    """A text, or a pair of texts, in tokens; ``kinds`` tells the pair's apart where model and tokenizer do."""

    ids: list[int]
    kinds: list[int]


@dataclass(frozen=True)
class Labelled:
    """A file's texts, the shortest first, each with its label.

    ``texts`` has the inputs of every line: one, or the two whose embeddings are compared. ``labels`` has for every line
    the class of each of its outputs (`UNLABELLED` where it has none), or its score alone. ``metrics`` are measured.
    """

    origin: str
    metrics: tuple[str, ...]
    texts: tuple[tuple[Encoded, ...], ...]
    labels: tuple[tuple[float, ...], ...]
    padding: int

    def __len__(self) -> int:
        return len(self.labels)

    def __str__(self) -> str:
        return f"{self.origin}, {len(self)} texts, {self.metrics[0]}"

    def batch(self, part: slice, which: int = 0) -> dict[str, Any]:
        """The inputs of some lines as a worker takes them, padded at the end."""
        found = [texts[which] for texts in self.texts[part]]
        longest = max(len(each.ids) for each in found)
        gaps = [longest - len(each.ids) for each in found]
        return {
            "ids": [each.ids + [self.padding] * gap for each, gap in zip(found, gaps, strict=True)],
            "mask": [[1] * len(each.ids) + [0] * gap for each, gap in zip(found, gaps, strict=True)],
            "kinds": [each.kinds + [0] * gap for each, gap in zip(found, gaps, strict=True)],
        }

    def tokens(self) -> Ids:
        """Every token and label in one row, for a digest."""
        ids = [i for texts in self.texts for each in texts for i in [*each.ids, *each.kinds]]
        scores = np.array([label for labels in self.labels for label in labels], np.float64)
        return np.concatenate([np.array(ids, np.int64), scores.view(np.int64)])


def read_labelled(path: Path, model: Model) -> Labelled:
    """The labelled text of a file, for a classifier or an encoder.

    Raises UsageError for a decoder, for a file that can't be used, and for a label that the head doesn't have.
    """
    if model.kind.generates_text:
        raise UsageError(
            f"--labels is for classifiers and sentence encoders, but {model.class_name} writes text; leave it out"
        )
    if model.kind.is_vision:
        raise UsageError(f"--labels takes labelled text, and {model.source} reads images; leave it out")
    reader = _LineReader(model.config, model.tokenizer())
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
    lines = sorted(map(read, read_labelled_lines(path, fields)), key=_length)
    texts, labels = zip(*lines, strict=True)
    if metrics == SPEARMAN and (len(labels) < _LEAST or len(set(labels)) < 2):
        raise UsageError(f"{path}: a correlation takes {_LEAST} lines and scores that differ")
    if all(label == UNLABELLED for classes in labels for label in classes) and metrics == ACCURACY:
        raise UsageError(f"{path} holds no labels")
    return Labelled(path.name, metrics, texts, labels, reader.padding)


Line = tuple[tuple[Encoded, ...], tuple[float, ...]]
"""A line's texts and its labels."""


def _length(line: Line) -> int:
    """Tokens of a line's longest text."""
    return max(len(text.ids) for text in line[0])


class _LineReader:
    """Turns labelled lines into tokens and classes of one model."""

    def __init__(self, config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._longest = longest_input(config)
        self._tells_pairs = getattr(config, "type_vocab_size", 0) > 1
        self.padding = config.pad_token_id or 0
        self._names = label_names(config)

    def compared(self, entry: LabelledLine) -> Line:
        """Two texts, each by itself, and how alike they are."""
        return (self._encoded(entry.text("text")), self._encoded(entry.text("text2"))), (entry.number("score"),)

    def scored(self, entry: LabelledLine) -> Line:
        """A text or a pair, and its score."""
        return (self._together(entry),), (entry.number("score"),)

    def classified(self, entry: LabelledLine) -> Line:
        """A text or a pair, and its class."""
        return (self._together(entry),), (self._class(entry, entry.field("label")),)

    def tagged(self, entry: LabelledLine) -> Line:
        """Words with the class of each, which their first tokens have to be given."""
        words, labels = entry.field("tokens"), entry.field("labels")
        if not (isinstance(words, list) and words and all(isinstance(word, str) and word for word in words)):
            raise UsageError(f"{entry.where}: tokens is no list of words")
        if not isinstance(labels, list) or len(labels) != len(words):
            raise UsageError(f"{entry.where}: labels is no list of {len(words)} classes, one a token")
        classes = [self._class(entry, label) for label in labels]
        read = self._tokens(" ".join(words), None, return_offsets_mapping=True, return_special_tokens_mask=True)
        ends = np.cumsum([len(word) + 1 for word in words]) - 1  # a blank is the next word's, as in byte-level tokens
        found, last = [], -1
        for (begin, end), special in zip(read["offset_mapping"], read["special_tokens_mask"], strict=True):
            word = last if special else int(np.searchsorted(ends, max(begin, end - 1), side="right"))
            found.append(classes[word] if word > last else UNLABELLED)
            last = max(word, last)
        return (Encoded(read["input_ids"], [0] * len(found)),), tuple(found)

    def _class(self, entry: LabelledLine, label: object) -> int:
        """The number of a class that is called by its name or its number; names go first."""
        called = str(label).strip()
        if called in self._names:
            return self._names.index(called)
        if called.isdecimal() and int(called) < len(self._names):
            return int(called)
        known = ", ".join(self._names[:20]) + (", …" if len(self._names) > 20 else "")
        raise UsageError(
            f"{entry.where}: the head has no label {called!r}; it has {known}, or by number 0 to {len(self._names) - 1}"
        )

    def _together(self, entry: LabelledLine) -> Encoded:
        second = entry.text("text2") if entry.fields.get("text2") not in (None, "") else None
        return self._encoded(entry.text("text"), second)

    def _encoded(self, text: str, second: str | None = None) -> Encoded:
        read = self._tokens(text, second)
        kinds = read.get("token_type_ids") if self._tells_pairs else None
        return Encoded(list(read["input_ids"]), list(kinds or [0] * len(read["input_ids"])))

    def _tokens(self, text: str, second: str | None, **options: Any) -> Any:
        return self._tokenizer(text, second, truncation=True, max_length=self._longest, verbose=False, **options)
