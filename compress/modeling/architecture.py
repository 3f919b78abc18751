"""Architecture of a checkpoint: the transformers class that its config names, and the outline of its tensors."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from compress.errors import ModelError
from compress.modeling import dry_run
from compress.modeling.classifier import classifier_class
from compress.modeling.config_file import read_config
from compress.modeling.experts import Names, open_experts
from compress.modeling.families import FAMILIES
from compress.modeling.kinds import CLASSIFIER, DECODER, ENCODER, TaskKind
from compress.modeling.modules import transposed
from compress.modeling.outline import Outline, read_outline
from compress.modeling.quiet import first_line, quiet_transformers
from compress.modeling.seq2seq import check_shared_embedding, declares_untied_head, untie_head
from compress.modeling.transformers_private import computed_on_load, not_saved, on_meta

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

_POOLED = ("bert", "roberta", "mpnet")

_FROM_PADDING = ("roberta", "mpnet")
"""Model types whose positions start behind that of their padding."""
_NOT_STRUCTURAL = (
    "_name_or_path",
    "architectures",
    "dtype",
    "quantization_config",
    "torch_dtype",
    "transformers_version",
)
"""Settings of a config that make no other module."""
_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""Types that transformers makes modules in."""
_LEAST_TOKENS = 4
"""Tokens that a model takes in at least: a text, and some more with a cache."""
_UNBOUNDED = 2048
"""Tokens taken in at once by a model whose config names no end: those that BLOOM and MPT were trained on."""


@dataclass(frozen=True, eq=False)
class Architecture:
    """A transformers class and the config that makes it; two are equal where they make modules that are alike.

    ``options``: what the class is called with beside the config. ``untied_head``: whether an encoder-decoder has a head
    of its own, which its config doesn't say.
    """

    cls: type[PreTrainedModel]
    config: PretrainedConfig
    kind: TaskKind
    options: Mapping[str, Any]
    untied_head: bool = False

    @property
    def class_name(self) -> str:
        """The name of the transformers class, as in a config's ``architectures``."""
        return self.cls.__name__

    @property
    def tied(self) -> bool:
        """Whether the head is the embedding, used twice."""
        return self.kind.generates_text and bool(self.config.tie_word_embeddings) and not self.untied_head

    @cached_property
    def outline(self) -> Outline:
        """The names, shapes and roles of all tensors: built once for all architectures that are equal."""
        return _build(self)[0]

    @property
    def failure(self) -> str | None:
        """What transformers' own code raises when such a module is run, from shapes alone; None where it runs.

        Families that are unknown here aren't run: what they are called with isn't known.
        """
        return _build(self)[1]

    def meta_module(self) -> PreTrainedModel:
        """A module of its own without weights: every tensor on torch's meta device, every expert by itself."""
        with on_meta():
            module = self._module()
            if self._experts is not None:
                open_experts(module, self._experts)
        return module

    def resized(self, resize: Callable[[PretrainedConfig], None]) -> Architecture:
        """The architecture after ``resize`` has changed its config; itself where that changes nothing."""
        config = copy.deepcopy(self.config)
        resize(config)
        return self if config.to_dict() == self.config.to_dict() else replace(self, config=config)

    def to_out_in(self, name: str, tensor: Tensor) -> Tensor:
        """A linear's matrix as it is stored, laid ``[out, in]``; any other tensor as it is."""
        return transposed(tensor) if name in self.outline.transposed_weights else tensor

    def to_stored_layout(self, name: str, tensor: Tensor) -> Tensor:
        """A linear's matrix ``[out, in]``, laid as it is stored; any other tensor as it is."""
        return self.to_out_in(name, tensor)  # turned once more, it lies as before

    def computed_on_load(self, name: str) -> bool:
        """Whether transformers makes a tensor of an encoder-decoder itself where a checkpoint lacks it."""
        patterns = computed_on_load(self.cls) if self.kind.is_seq2seq else ()
        return any(re.search(pattern, name) for pattern in patterns)

    def not_saved(self, name: str) -> bool:
        """Whether transformers leaves a tensor out of the checkpoints that it writes, and makes it itself."""
        return name in not_saved(self.cls)

    @property
    def _experts(self) -> Names | None:
        family = FAMILIES.get(self.config.model_type)
        return None if family is None else family.experts

    def _module(self) -> PreTrainedModel:
        """A module whose experts are as transformers has them; to be called inside `on_meta`."""
        module = self.cls(copy.deepcopy(self.config), **self.options)
        module.tie_weights(recompute_mapping=False)
        if self.untied_head:
            untie_head(module)
        return module

    @cached_property
    def _signature(self) -> str:
        config = {key: value for key, value in self.config.to_dict().items() if key not in _NOT_STRUCTURAL}
        return f"{self.class_name} {dict(self.options)} {self.untied_head} {config}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Architecture) and self._signature == other._signature

    def __hash__(self) -> int:
        return hash(self._signature)


@lru_cache(maxsize=8)
def _build(architecture: Architecture) -> tuple[Outline, str | None]:
    """The outline of a module and its failure, of one module that is built once."""
    with on_meta():
        module = architecture._module()
        outline = read_outline(module, architecture._experts)
    known = architecture.config.model_type in FAMILIES
    return outline, dry_run.failure(module, architecture.kind) if known else None


def head_size(config: PretrainedConfig) -> int:
    """Number of channels of an attention head."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def longest_input(config: PretrainedConfig) -> int:
    """Number of tokens that a model takes in at once."""
    limits = (getattr(config, name, None) for name in ("max_position_embeddings", "max_seq_len", "seq_length"))
    positions = int(next((limit for limit in limits if limit is not None), _UNBOUNDED))
    return positions - config.pad_token_id - 1 if config.model_type in _FROM_PADDING else positions


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
    _check_settings(path / "config.json", config)
    family = FAMILIES[config.model_type]
    if embeds and family.kind.is_decoder_only:
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


def _check_settings(file: Path, config: PretrainedConfig) -> None:
    """Refuse what transformers doesn't look at before it runs: a dtype, room for tokens, and the first to decode."""
    if config.dtype not in (None, *_DTYPES):
        raise ModelError(f"{file}: dtype is {config.dtype}; float32, float16, bfloat16 or float64 is needed")
    if (longest := longest_input(config)) < _LEAST_TOKENS:
        raise ModelError(
            f"{file}: by its positions the model takes in {max(longest, 0)} tokens at once; {_LEAST_TOKENS} are needed"
        )
    start = getattr(config, "decoder_start_token_id", None) if config.is_encoder_decoder else None
    if start is not None and not 0 <= start < config.vocab_size:
        raise ModelError(f"{file}: decoder_start_token_id is {start}, and there are {config.vocab_size} tokens")


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


def _builds(architecture: Architecture) -> bool:
    """Whether transformers builds the module, whatever it is made of."""
    try:
        architecture.meta_module()
    except Exception:  # as many as there are classes
        return False
    return True


def check_buildable(path: Path, architecture: Architecture) -> None:
    """Raise a ModelError for an architecture that transformers can't build the module of, or can't run.

    ``path`` has its config.
    """
    file = path / "config.json"
    try:
        failure, counts = architecture.failure, architecture.outline.layer_counts
    except ModelError as error:
        raise ModelError(f"{file}: {error}") from error
    except Exception as error:  # whatever a size, an activation or a rope type that there isn't leads to
        if architecture.config.model_type not in FAMILIES and _builds(architecture):
            raise ModelError(
                f"{file}: a {architecture.class_name} isn't one stack of layers behind one embedding, as compress "
                "reads models; give the config.json of a part of it that is"
            ) from error
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise ModelError(f"{file}: transformers can't build a {architecture.class_name} of it ({reason})") from error
    if architecture.kind.is_seq2seq and not all(counts.values()):
        raise ModelError(f"{file}: an encoder or a decoder without layers is not supported")
    if failure is not None:
        raise ModelError(f"{file}: transformers can't run a {architecture.class_name} of it ({failure})")
