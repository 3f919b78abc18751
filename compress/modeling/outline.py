"""Outline of a model: the names, shapes and roles of its tensors, read off one module without weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from torch import nn

from compress.modeling.experts import closed_experts_reason, expert_shapes, is_stack
from compress.modeling.modules import is_linear, stacks

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Outline:
    """Names, shapes and roles of an architecture's tensors, as in the module's ``state_dict`` and in its order."""

    shapes: Mapping[str, tuple[int, ...]]
    """of all tensors; a linear's is ``[out, in]`` however it is stored"""
    tied: Mapping[str, str]
    """the tensors that are another one under a second name, and that one"""
    linears: tuple[str, ...]
    """the weights of all linears"""
    unusual_linears: tuple[str, ...]
    """the weights of modules of a linear's class that compute something else: routers"""
    transposed_weights: frozenset[str]
    """those of ``linears`` that are stored ``[in, out]``"""
    expert_weights: frozenset[str]
    """those of them that only some tokens reach: the experts'"""
    tables: frozenset[str]
    """the weights of all embeddings, of tokens and of positions"""
    embedding: str | None
    """what token ids are looked up in"""
    head: str | None
    """what logits are computed with, by its own name also where it is tied; None where there is none"""
    layer_counts: Mapping[str, int]
    """how many repeated layers there are, by the path of their list"""
    nonstandard_linear: str | None
    """the class of the layers' linears where that isn't torch's own"""
    closed_experts: str | None
    """why its experts can't be told apart; None where they can, or there are none"""
    number_bytes: Mapping[str, int]
    """the size of a number where a tensor's numbers aren't floats"""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every tensor once: without the second names of tied ones."""
        return tuple(name for name in self.shapes if name not in self.tied)

    @cached_property
    def matrices(self) -> tuple[str, ...]:
        """The weights that passes work on: the layers' linears, the embedding and the head; tied ones once."""
        inside = {name for name in self.linears if self.in_layer(name)} | {self.embedding, self.head}
        return tuple(name for name in self.names if name in inside)

    @cached_property
    def _layers(self) -> tuple[str, ...]:
        return tuple(f"{path}." for path in self.layer_counts)

    def in_layer(self, name: str) -> bool:
        """Whether a tensor is one of a repeated layer's."""
        return name.startswith(self._layers)

    def stored_shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape as it is stored: a linear's may be ``[in, out]``."""
        shape = self.shapes[name]
        return shape[::-1] if name in self.transposed_weights else shape


def read_outline(module: PreTrainedModel) -> Outline:
    """The outline of a module whose experts are as transformers has them, and are told apart here.

    A tensor for each of ten thousand experts is not made: of a large mixture that would take most of the time.
    """
    tied = dict(module.all_tied_weights_keys)
    embedding = _name_of(module.get_input_embeddings(), module)
    opened = expert_shapes(module)
    modules = {f"{name}.weight": child for name, child in module.named_modules() if is_linear(child)}
    alike = {f"{name}.weight" for name, child in module.named_modules() if isinstance(child, nn.Linear)}
    transposed = frozenset(name for name, child in modules.items() if not isinstance(child, nn.Linear))
    shapes: dict[str, tuple[int, ...]] = {}
    for name, tensor in module.state_dict().items():
        shape = tuple(tensor.shape)
        in_experts = opened.get(name.rpartition(".")[0]) if is_stack(name) else None
        shapes |= in_experts or {name: shape[::-1] if name in transposed else shape}
    expert_weights = frozenset(name for weights in opened.values() for name in weights)
    layer_counts = {path: len(layers) for path, layers in stacks(module)}
    paths = tuple(f"{path}." for path in layer_counts)
    classes = {type(child) for name, child in modules.items() if name.startswith(paths)} - {nn.Linear}
    tables = {f"{name}.weight" for name, child in module.named_modules() if isinstance(child, nn.Embedding)}
    return Outline(
        shapes=shapes,
        tied=tied,
        linears=tuple(name for name in shapes if name in modules or name in expert_weights),
        unusual_linears=tuple(name for name in shapes if name in alike and name not in modules),
        transposed_weights=transposed,
        expert_weights=expert_weights,
        tables=frozenset(tables),
        embedding=None if embedding is None else tied.get(embedding, embedding),
        head=_name_of(module.get_output_embeddings(), module),
        layer_counts=layer_counts,
        nonstandard_linear=next((cls.__name__ for cls in classes), None),
        closed_experts=closed_experts_reason(module),
        number_bytes={n: t.element_size() for n, t in module.state_dict().items() if not t.is_floating_point()},
    )


def _name_of(part: nn.Module | None, module: PreTrainedModel) -> str | None:
    """The name of one module's weight in another; None where there is none.

    Patches of an image have no such weight: they are embedded by modules inside of the one that transformers names.
    """
    if getattr(part, "weight", None) is None:
        return None
    return next((f"{name}.weight" for name, child in module.named_modules() if child is part), None)
