"""Classifiers of text: encoders and decoders with such a head, their labels, and the class that loads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compress.modeling.families import loads_images
from compress.modeling.kinds import TaskKind

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_OTHER_HEADS = ("ForCausalLM", "LMHeadModel", "Model")
"""Ends of the names of classes that are loaded where there is no classifier's head."""
_SEQUENCE, _TOKEN = "ForSequenceClassification", "ForTokenClassification"


def classifier_class(base: str, architectures: Sequence[str] | None) -> str | None:
    """The class that a config names, if that is the ``base`` (``BertModel``) with a classifier's head for its own."""
    named = architectures[0] if architectures else None
    stem = next((base.removesuffix(end) for end in _OTHER_HEADS if base.endswith(end)), None)
    return named if stem is not None and named in (stem + _SEQUENCE, stem + _TOKEN) else None


def is_classifier_class(cls: str) -> bool:
    """Whether a class of that name has a classifier's head."""
    return cls.endswith((_SEQUENCE, _TOKEN))


def is_token_classifier(cls: str) -> bool:
    """Whether a classifier of that class has logits for every token, ``[b, s, labels]`` instead of ``[b, labels]``."""
    return cls.endswith(_TOKEN)


def auto_class(kind: TaskKind, cls: str) -> str:
    """The name of the transformers class that a user loads a checkpoint of the class ``cls`` with."""
    if kind.is_decoder_only and loads_images(cls):
        return "AutoModelForImageTextToText"
    return f"AutoModel{_TOKEN}" if is_token_classifier(cls) else kind.auto_class


def label_names(config: PretrainedConfig) -> list[str]:
    """The names of a classifier's labels, in the order of their numbers."""
    return [str(name) for _, name in sorted((config.id2label or {}).items(), key=lambda entry: int(entry[0]))]


def is_multi_label(config: PretrainedConfig) -> bool:
    """Whether each label is a yes or no of its own, its logit over or under 0, and not one of them the class."""
    return len(label_names(config)) == 1 or config.problem_type == "multi_label_classification"
