"""Families of models by their ``model_type``: the class that they are loaded as, as transformers' own tables have it.

A row here says only what can't be read off a model's module.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from compress.modeling.kinds import DECODER, ENCODER, IMAGE_CLASSIFIER, SEQ2SEQ, TaskKind

if TYPE_CHECKING:
    from collections.abc import Mapping

_WITHOUT_PACKED = frozenset(("t5", "mt5"))
"""Model types whose initialization reads every linear's weight, which packed integers don't have."""

_BOUND_LAYERS = frozenset(
    ("falcon_h1", "gemma3n_text", "gemma4_text", "gemma4_unified_text", "led", "longt5", "pegasus_x", "prophetnet")
)
"""Model types whose layers compute something else by themselves than in their model, which hands them more."""


@dataclass(frozen=True)
class Family:
    """A model type: the class ``cls`` that it is loaded as, without a head where its kind has none.

    ``packs``: whether transformers loads packed integers of it.
    """

    cls: str
    kind: TaskKind
    packs: bool = True


@cache
def family_of(model_type: str, class_name: str | None = None) -> Family | None:
    """The family of a model type; None where transformers has none of that name, or it is of a kind unknown here.

    What is also a masked language model is an encoder, whatever else transformers makes of it; what writes text about
    images is a decoder. Where transformers has several classes for a type, it is the one of the ``class_name``.
    """
    from transformers.models.auto import modeling_auto as auto  # here: it takes a second that `--help` shouldn't wait

    kinds: tuple[tuple[Mapping[str, Any], TaskKind], ...] = (
        (auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES, SEQ2SEQ),
        (auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES, ENCODER),
        (auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, DECODER),
        (auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES, DECODER),
        (auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES, IMAGE_CLASSIFIER),
    )
    families: list[Family] = []
    for classes, kind in kinds:
        if model_type in classes:
            named = (classes if kind.has_head else auto.MODEL_MAPPING_NAMES)[model_type]
            names = (named,) if isinstance(named, str) else named  # the main one comes first
            families += [Family(cls, kind, packs=model_type not in _WITHOUT_PACKED) for cls in names]
    alike = (family for family in families if family.cls == class_name and family.kind is families[0].kind)
    return next(alike, families[0] if families else None)


def loads_images(cls: str) -> bool:
    """Whether a class of that name writes text about images: transformers loads it by another class than decoders."""
    from transformers.models.auto import modeling_auto as auto

    decoders, seers = auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    return cls in seers.values() and cls not in decoders.values()


def runs_layer_by_layer(model_type: str) -> bool:
    """Whether layers of that type can be run one by one, on what the model called them with."""
    return model_type not in _BOUND_LAYERS


def is_decoder_type(model_type: str) -> bool:
    """Whether models of that type are decoders, also where one without a head embeds texts."""
    family = family_of(model_type)
    return family is not None and family.kind.is_decoder_only
