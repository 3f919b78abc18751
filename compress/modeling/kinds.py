"""Kinds of models by task: one row a kind, with the facts that the rest of the program goes by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic_core import CoreSchema


@dataclass(frozen=True)
class TaskKind:
    """A kind of model by its task. JSON (a manifest, ``artifact.json``, a scorecard) holds the ``name`` alone.

    ``auto_class``: the transformers class that loads it. ``generates_text``: token by token. ``is_seq2seq``: an encoder
    reads and a decoder writes. ``is_vision``: it reads images, and no text. ``has_classes``: its logits are of classes.
    ``has_head``: its outputs are logits, not hidden states.
    """

    name: str
    auto_class: str
    generates_text: bool = False
    is_seq2seq: bool = False
    is_vision: bool = False
    has_classes: bool = False
    has_head: bool = True

    @property
    def is_decoder_only(self) -> bool:
        """Whether one stack of layers both reads and writes the text."""
        return self.generates_text and not self.is_seq2seq

    def __str__(self) -> str:
        return self.name

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> CoreSchema:
        """A field of this type is its name in JSON, and read from it."""
        from pydantic_core import core_schema as schema  # here: the workers that are measured do without pydantic

        names = schema.literal_schema(list(KINDS))
        by_name = schema.no_info_after_validator_function(KINDS.__getitem__, names)
        return schema.no_info_before_validator_function(
            lambda value: value.name if isinstance(value, cls) else value,
            by_name,
            serialization=schema.plain_serializer_function_ser_schema(str, return_schema=names),
        )


DECODER = TaskKind("decoder", "AutoModelForCausalLM", generates_text=True)
ENCODER = TaskKind("encoder", "AutoModel", has_head=False)
CLASSIFIER = TaskKind("classifier", "AutoModelForSequenceClassification", has_classes=True)
"""An encoder of text with its head, one decision a text or a token."""
SEQ2SEQ = TaskKind("encoder-decoder", "AutoModelForSeq2SeqLM", generates_text=True, is_seq2seq=True)
IMAGE_CLASSIFIER = TaskKind("image-classifier", "AutoModelForImageClassification", is_vision=True, has_classes=True)

KINDS: Mapping[str, TaskKind] = {kind.name: kind for kind in (DECODER, ENCODER, CLASSIFIER, SEQ2SEQ, IMAGE_CLASSIFIER)}
"""Every kind by its name."""
