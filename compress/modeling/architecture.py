"""Architecture of a checkpoint: a transformers class with its config, and the outline of its tensors."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from compress.modeling.distinct_layers import keep_distinct
from compress.modeling.dry_run import DryRun, run_dry
from compress.modeling.experts import open_experts
from compress.modeling.families import family_of
from compress.modeling.kinds import TaskKind
from compress.modeling.modules import stacks, text_config, transposed
from compress.modeling.outline import Outline, read_outline
from compress.modeling.seq2seq import untie_head
from compress.modeling.transformers_private import (
    computed_on_load,
    follows_padding,
    not_saved,
    on_meta,
    renaming,
)

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

_NOT_STRUCTURAL = (
    "_name_or_path",
    "architectures",
    "dtype",
    "quantization_config",
    "torch_dtype",
    "transformers_version",
)
"""Settings of a config that make no other module."""
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

    @cached_property
    def text_config(self) -> PretrainedConfig:
        """The part of the config that is about text; itself in most models."""
        return text_config(self.config)

    @property
    def tied(self) -> bool:
        """Whether the head is the embedding, used twice."""
        if not self.kind.generates_text or self.untied_head:
            return False
        if self.text_config is not self.config:  # either of the two may say so
            return self.outline.head in self.outline.tied
        return bool(self.config.tie_word_embeddings)

    @cached_property
    def outline(self) -> Outline:
        """The names, shapes and roles of all tensors: built once for all architectures that are equal."""
        return _build(self).outline

    @property
    def dry_run(self) -> DryRun:
        """What a run of such a module shows, from shapes alone; nothing of types that no family is known of."""
        return _build(self).dry_run

    def meta_module(self) -> PreTrainedModel:
        """A module of its own without weights: every tensor on torch's meta device, every expert by itself."""
        with on_meta():
            module = self._module()
            open_experts(module)
        return module

    def distinct_layers(self) -> tuple[PreTrainedModel, Mapping[str, Sequence[int]]]:
        """A module as `meta_module` makes them, with the first layer of each kind alone, and where each layer's is.

        By the path of a stack, for every layer: the number that the layer of its kind has there.
        """
        with on_meta():
            module = self._module()
            places = {path: keep_distinct(layers) for path, layers in stacks(module)}
            open_experts(module)
        return module, places

    def resized(self, resize: Callable[[PretrainedConfig], None]) -> Architecture:
        """The architecture after ``resize`` has changed its config; itself where that changes nothing."""
        config = copy.deepcopy(self.config)
        resize(text_config(config))
        return self if config.to_dict() == self.config.to_dict() else replace(self, config=config)

    def with_tied_head(self, tied: bool) -> Architecture:
        """The architecture with its head tied to the embedding, or not; itself where it is so already."""
        if self.tied == tied:
            return self
        config = copy.deepcopy(self.config)
        for part in (config, text_config(config)):
            part.tie_word_embeddings = tied
        return replace(self, config=config)

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

    def module_name(self, name: str) -> str:
        """What the module calls a tensor that a checkpoint has by that ``name``, as transformers renames it."""
        return _build(self).renamed(name)

    def not_saved(self, name: str) -> bool:
        """Whether transformers leaves a tensor out of the checkpoints that it writes, and makes it itself."""
        return name in not_saved(self.cls)

    def _module(self) -> PreTrainedModel:
        """A module whose experts are as transformers has them; to be called inside `on_meta`."""
        config = copy.deepcopy(self.config)
        config.dtype = torch.float32  # some classes make a part of themselves in the type that it names
        module = self.cls(config, **self.options)
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


@dataclass(frozen=True)
class _Module:
    """What is read off a module that is built once: ``renamed`` says what it calls a checkpoint's tensor."""

    outline: Outline
    dry_run: DryRun
    renamed: Callable[[str], str]


@lru_cache(maxsize=8)
def _build(architecture: Architecture) -> _Module:
    with on_meta():
        module = architecture._module()
        outline, renamed = read_outline(module), renaming(module)
    known = family_of(architecture.config.model_type) is not None  # else what it is called with isn't
    return _Module(outline, run_dry(module, architecture.kind) if known else DryRun(), renamed)


def head_size(config: PretrainedConfig) -> int:
    """Number of channels of an attention head."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def longest_input(config: PretrainedConfig) -> int:
    """Number of tokens that a model takes in at once."""
    limits = (getattr(config, name, None) for name in ("max_position_embeddings", "max_seq_len", "seq_length"))
    positions = int(next((limit for limit in limits if limit is not None), _UNBOUNDED))
    padding = getattr(config, "pad_token_id", None)
    if padding is not None and follows_padding(type(config).__module__):
        positions -= padding + 1
    return positions
