"""Find a transformers module's layers, linears and embeddings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch import Tensor, nn

from compress.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


Layers = tuple[str, nn.ModuleList]
"""The path and the list of repeated layers."""


def stacks(module: PreTrainedModel) -> tuple[Layers, ...]:
    """A model's repeated layers: one list, or an encoder's and after it a decoder's."""
    if not module.config.is_encoder_decoder:
        return (layer_list(module),)
    names = {id(child): name for name, child in module.named_modules()}
    lists = [
        (f"{names[id(stack)]}.{name}", child)
        for stack in (module.get_encoder(), module.get_decoder())
        for name, child in stack.named_children()
        if isinstance(child, nn.ModuleList)
    ]
    return tuple(lists) if len(lists) == 2 else (layer_list(module),)


def layer_list(module: PreTrainedModel) -> Layers:
    """A model's repeated layers, where they are one list."""
    count = module.config.num_hidden_layers
    for name, child in module.named_modules():
        if isinstance(child, nn.ModuleList) and len(child) == count:
            return name, child
    raise ModelError(f"{type(module).__name__}: found no list of {count} layers to walk over")


@contextmanager
def replaced(module: PreTrainedModel, stack: Layers, others: Iterable[nn.Module]) -> Iterator[None]:
    """Inside, other modules stand in the place of a model's repeated layers."""
    path, layers = stack
    parent, _, attribute = path.rpartition(".")
    owner = module.get_submodule(parent)
    setattr(owner, attribute, nn.ModuleList(others))
    try:
        yield
    finally:
        setattr(owner, attribute, layers)


def table_names(module: PreTrainedModel, *tables: nn.Module) -> list[str]:
    """The names by which an embedding's and a head's weights are stored: tied ones by what they are tied to."""
    names = [f"{name}.weight" for name, child in module.named_modules() if any(child is table for table in tables)]
    return [module.all_tied_weights_keys.get(name, name) for name in names]


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a linear: torch's, or GPT-2's, whose class is called a convolution."""
    from transformers.pytorch_utils import Conv1D  # here: a command that opens no model shouldn't wait for it

    return isinstance(module, nn.Linear | Conv1D)


def linears(module: nn.Module, prefix: str = "") -> dict[str, nn.Module]:
    """A module's linears by the names of their weights, in the module's order; ``prefix`` is the module's own name."""
    start = f"{prefix}." if prefix else ""
    return {f"{start}{name}.weight": child for name, child in module.named_modules() if is_linear(child)}


def transposed_weights(module: nn.Module, prefix: str = "") -> frozenset[str]:
    """The linears' weights that are stored ``[in, out]``: GPT-2's, whose class is called a convolution."""
    return frozenset(name for name, child in linears(module, prefix).items() if not isinstance(child, nn.Linear))


def transposed(tensor: Tensor) -> Tensor:
    """A matrix ``[out, in]`` as ``[in, out]``, or back."""
    return tensor.T.contiguous()
