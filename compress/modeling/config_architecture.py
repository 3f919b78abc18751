"""Architecture that a ``config.json`` names, read through transformers and checked."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from compress.errors import ModelError
from compress.modeling.architecture import Architecture
from compress.modeling.architecture_checks import check_buildable, check_settings, not_one_stack
from compress.modeling.classifier import classifier_class
from compress.modeling.config_file import read_config
from compress.modeling.families import Family, family_of
from compress.modeling.kinds import CLASSIFIER, DECODER, ENCODER
from compress.modeling.modules import text_config
from compress.modeling.quiet import first_line, quiet_transformers
from compress.modeling.seq2seq import check_shared_embedding, declares_untied_head

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


def read_architecture(path: Path, stored: Iterable[str], embeds: bool = False) -> Architecture:
    """The architecture that a checked ``config.json`` names; a ModelError where transformers finds it invalid.

    An encoder's pooler is left out where ``stored``, the checkpoint's tensor names, has none; a head is kept where it
    is a classifier's, an encoder's or a decoder's. Where the model ``embeds``, as a sentence encoder's transformer
    does, it is read without its head, a decoder as an encoder.
    """
    import transformers  # only where a model is opened: it takes a second that `--help` shouldn't wait for

    family = _checked_family(path, embeds)
    try:
        with quiet_transformers():
            config = transformers.AutoConfig.from_pretrained(path, trust_remote_code=False)
    except Exception as error:  # transformers has no common class for what a config can be wrong in
        raise ModelError(f"{path / 'config.json'} is no valid config ({first_line(error)})") from error
    config.return_dict = True  # how outputs are handed over is no part of a model
    embedder = embeds and family.kind.is_decoder_only
    head = None if embeds else classifier_class(family.cls, config.architectures)
    kind = ENCODER if embedder else CLASSIFIER if head else family.kind
    check_settings(path / "config.json", text_config(config), kind)
    if embedder:
        base = cast("type[PreTrainedModel]", transformers.MODEL_MAPPING[type(config)])
        config.architectures = [base.__name__]
        return Architecture(base, config, ENCODER, {})
    if kind.is_vision and text_config(config) is not config:
        raise not_one_stack(path / "config.json", family.cls)
    config.architectures = [head or family.cls]
    if family.kind.is_seq2seq:
        check_shared_embedding(path, config)
    cls = getattr(transformers, head or family.cls, None)
    if cls is None:
        raise ModelError(f"{path / 'config.json'}: transformers has no {head}")
    has_choice = "add_pooling_layer" in inspect.signature(cls).parameters and head is None
    without_pooler = has_choice and not any("pooler." in name for name in stored)
    return Architecture(
        cls=cls,
        config=config,
        kind=kind,
        options={"add_pooling_layer": False} if without_pooler else {},
    )


def _checked_family(path: Path, embeds: bool) -> Family:
    """The family of a config; a ModelError where there is none, or the config names another class."""
    raw = read_config(path)
    model_type, class_name = str(raw.get("model_type")), (raw.get("architectures") or [None])[0]
    family = family_of(model_type, class_name)
    if family is None:
        raise ModelError(
            f"{path}: {class_name or model_type} is not supported: transformers has no decoder, encoder of text, "
            f"encoder-decoder or image classifier for the model_type {model_type}"
        )
    headed = class_name in (family.cls, None) or classifier_class(family.cls, [str(class_name)]) is not None
    if family.kind.has_head and not embeds and not headed:
        raise ModelError(f"{path}: {class_name} is not supported; of this model_type {family.cls} is")
    if embeds and (family.kind.is_seq2seq or family.kind.is_vision):
        raise ModelError(
            f"{path} is a sentence encoder's {model_type}, and sentence encoders are supported that are encoders or "
            f"decoders of text; without modules.json a {family.cls} is compressed"
        )
    return family


def any_architecture(path: Path, embeds: bool = False) -> Architecture:
    """The architecture of a ``config.json`` of any model that transformers knows, supported here or not.

    Nothing but its shapes can be told from it. Where the config names no class, it is that of a causal language model,
    or the base model, as it is where the model ``embeds``. Raises ModelError for a config that is missing or that
    transformers can't build a model of.
    """
    import transformers

    raw = read_config(path)
    if family_of(str(raw.get("model_type"))) is not None:
        architecture = read_architecture(path, ["pooler."], embeds)
        check_buildable(path, architecture)
        return replace(architecture, untied_head=architecture.kind.is_seq2seq and declares_untied_head(raw))
    try:
        named = getattr(transformers, (raw.get("architectures") or [""])[0] or "", None)
        config = _any_config(path, raw, named)
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


def _any_config(path: Path, raw: Mapping[str, Any], named: Any) -> PretrainedConfig:
    """The config in a directory, of the class that is ``named`` where its type is one of the author's own."""
    import transformers

    with quiet_transformers():
        if named is None or raw.get("model_type") in transformers.CONFIG_MAPPING:
            config: PretrainedConfig = transformers.AutoConfig.from_pretrained(path, trust_remote_code=False)
            return config
        config_class = named.config_class
        return config_class.from_dict({**raw, "model_type": config_class.model_type})  # type: ignore[no-any-return]
