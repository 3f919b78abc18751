"""Find a transformers module's layers, linears and embeddings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from compress.errors import ModelError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


_MAKES_BIAS = "has_relative_attention_bias"
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
    """A model's repeated layers, where they are one list: those that text goes through."""
    count = text_config(module.config).num_hidden_layers
    lists = [(name, child) for name, child in module.named_modules() if _is_list(child, count)]
    embedding = module.get_input_embeddings()
    owner = next((name.rpartition(".")[0] for name, child in module.named_modules() if child is embedding), "")
    beside = [(name, child) for name, child in lists if name.startswith(f"{owner}.")]  # not those of a vision tower
    stacks_of_layers = beside or lists
    owners = [name.rpartition(".")[0] for name, _ in stacks_of_layers]
    if owners.count(owners[0] if owners else "") > 1:
        raise ModelError(f"{type(module).__name__}: each layer is spread over several lists")
    if stacks_of_layers:
        return stacks_of_layers[0]
    raise ModelError(f"{type(module).__name__}: found no list of {count} layers to walk over")


def _is_list(child: nn.Module, count: int) -> bool:
    return isinstance(child, nn.ModuleList) and len(child) == count


def text_config(config: PretrainedConfig) -> PretrainedConfig:
    """The part of a config that is about text, where a model also sees or hears; else the config itself."""
    from transformers import PreTrainedConfig  # as in `is_linear`

    if config.is_encoder_decoder:
        return config
    try:
        part: object = config.get_text_config()
    except ValueError:  # there are several
        return config
    return part if isinstance(part, PreTrainedConfig) else config  # a config may have anything by that name


def bias_maker(layers: nn.ModuleList) -> str | None:
    """The path, in a stack's first layer, of what makes the biases of attention which all its layers are called with.

    None where there is no such thing, or every layer makes its own.
    """
    makers = [[path for path, child in layer.named_modules() if getattr(child, _MAKES_BIAS, False)] for layer in layers]
    return makers[0][0] if any(makers) and not any(makers[1:]) else None


class StandIn(nn.Module):
    """A module in the place of ``original``, whose attributes it has: models look at some of their layers'."""

    def __init__(self, original: nn.Module) -> None:
        super().__init__()
        self.__dict__["original"] = original  # as no part of it, with tensors of its own

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.__dict__["original"], name)


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
    """Whether a module is a linear: torch's, GPT-2's, whose class is called a convolution, or one that works alike."""
    from transformers.pytorch_utils import Conv1D  # here: a command that opens no model shouldn't wait for it

    if not isinstance(module, nn.Linear):
        return isinstance(module, Conv1D)
    return type(module).forward is nn.Linear.forward or _computes_product(module)


def _computes_product(module: nn.Linear) -> bool:
    """Whether a linear of a class of its own returns what linears do: routers return whom they chose as well."""
    inputs = torch.empty(1, module.in_features, dtype=module.weight.dtype, device=module.weight.device)
    try:
        with torch.no_grad():
            outputs = module(inputs)
    except Exception:  # it takes something else in
        return False
    return isinstance(outputs, Tensor) and outputs.shape == (1, module.out_features)


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
