"""Architecture of a checkpoint: a transformers class with its config, and the outline of its tensors."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from torch import Tensor

from compress.modeling import dry_run
from compress.modeling.experts import Names, open_experts
from compress.modeling.families import FAMILIES
from compress.modeling.kinds import TaskKind
from compress.modeling.modules import transposed
from compress.modeling.outline import Outline, read_outline
from compress.modeling.seq2seq import untie_head
from compress.modeling.transformers_private import computed_on_load, not_saved, on_meta

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

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

    def with_tied_head(self, tied: bool) -> Architecture:
        """The architecture with its head tied to the embedding, or not; itself where it is so already."""
        if self.tied == tied:
            return self
        return self.resized(lambda config: setattr(config, "tie_word_embeddings", tied))

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
    supported = architecture.config.model_type in FAMILIES
    return outline, dry_run.failure(module, architecture.kind) if supported else None


def head_size(config: PretrainedConfig) -> int:
    """Number of channels of an attention head."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def longest_input(config: PretrainedConfig) -> int:
    """Number of tokens that a model takes in at once."""
    limits = (getattr(config, name, None) for name in ("max_position_embeddings", "max_seq_len", "seq_length"))
    positions = int(next((limit for limit in limits if limit is not None), _UNBOUNDED))
    if config.model_type in _FROM_PADDING and config.pad_token_id is not None:
        positions -= config.pad_token_id + 1
    return positions
