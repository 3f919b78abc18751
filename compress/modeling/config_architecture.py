"""Architecture that a ``config.json`` names, read through transformers and checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from compress.errors import ModelError
from compress.modeling.architecture import Architecture
from compress.modeling.architecture_checks import check_buildable, check_settings
from compress.modeling.classifier import classifier_class
from compress.modeling.config_file import read_config
from compress.modeling.families import FAMILIES
from compress.modeling.kinds import CLASSIFIER, DECODER, ENCODER
from compress.modeling.quiet import first_line, quiet_transformers
from compress.modeling.seq2seq import check_shared_embedding, declares_untied_head

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_POOLED = ("bert", "roberta", "mpnet")


def read_architecture(path: Path, stored: Iterable[str], embeds: bool = False) -> Architecture:
    """The architecture that a checked ``config.json`` names; a ModelError where transformers finds it invalid.

    An encoder's pooler is left out where ``stored``, the checkpoint's tensor names, has none; its head is kept where it
    is a classifier's. Where the model ``embeds``, as a sentence encoder's transformer does, it is read without its
    head, a decoder as an encoder.
    """
    import transformers  # only where a model is opened: it takes a second that `--help` shouldn't wait for

    read_config(path)
    try:
        with quiet_transformers():
            config = transformers.AutoConfig.from_pretrained(path, trust_remote_code=False)
    except Exception as error:  # transformers has no common class for what a config can be wrong in
        raise ModelError(f"{path / 'config.json'} is no valid config ({first_line(error)})") from error
    config.return_dict = True  # how outputs are handed over is no part of a model
    family = FAMILIES[config.model_type]
    embedder = embeds and family.kind.is_decoder_only
    check_settings(path / "config.json", config, ENCODER if embedder else family.kind)
    if embedder:
        base = cast("type[PreTrainedModel]", transformers.MODEL_MAPPING[type(config)])
        config.architectures = [base.__name__]
        return Architecture(base, config, ENCODER, {})
    head = None if embeds else classifier_class(family.cls, config.architectures)
    config.architectures = [head or family.cls]
    if family.kind.is_seq2seq:
        check_shared_embedding(path, config)
    without_pooler = head is None and config.model_type in _POOLED and not any("pooler." in name for name in stored)
    return Architecture(
        cls=getattr(transformers, head or family.cls),
        config=config,
        kind=family.kind if head is None else CLASSIFIER,
        options={"add_pooling_layer": False} if without_pooler else {},
    )


def any_architecture(path: Path, embeds: bool = False) -> Architecture:
    """The architecture of a ``config.json`` of any model that transformers knows, supported here or not.

    Nothing but its shapes can be told from it. Where the config names no class, it is that of a causal language model,
    or the base model, as it is where the model ``embeds``. Raises ModelError for a config that is missing or that
    transformers can't build a model of.
    """
    import transformers

    raw = read_config(path)
    if raw.get("model_type") in FAMILIES:
        architecture = read_architecture(path, ["pooler."], embeds)
        check_buildable(path, architecture)
        return replace(architecture, untied_head=architecture.kind.is_seq2seq and declares_untied_head(raw))
    try:
        with quiet_transformers():
            config = transformers.AutoConfig.from_pretrained(path, trust_remote_code=False)
        named = getattr(transformers, (config.architectures or [""])[0], None)
        generates = transformers.MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
        headed = None if embeds else named or generates
        cls: Any = headed or transformers.MODEL_MAPPING[type(config)]
        cls = cls[0] if isinstance(cls, tuple) else cls  # the base model comes first
    except Exception as error:  # as in `read_architecture`
        raise ModelError(
            f"{path / 'config.json'} is no config that transformers knows ({first_line(error)})"
        ) from error
    architecture = Architecture(cls, config, DECODER if cls is generates else ENCODER, {})
    check_buildable(path, architecture)
    return architecture
