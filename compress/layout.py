"""What a transformers module is made of: its repeated layers, its linears, and the way round they store a matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from compress.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def layer_list(module: PreTrainedModel) -> tuple[str, nn.ModuleList]:
    """The path and the list of a model's repeated layers."""
    count = module.config.num_hidden_layers
    for name, child in module.named_modules():
        if isinstance(child, nn.ModuleList) and len(child) == count:
            return name, child
    raise ModelError(f"{type(module).__name__}: found no list of {count} layers to walk over")


def linears(module: nn.Module, prefix: str = "") -> dict[str, nn.Module]:
    """A module's linears by the names of their weights, in the module's order; ``prefix`` is the module's own name."""
    from transformers.pytorch_utils import Conv1D  # here: a command that opens no model shouldn't wait for it

    start = f"{prefix}." if prefix else ""
    kinds = nn.Linear | Conv1D
    return {f"{start}{name}.weight": child for name, child in module.named_modules() if isinstance(child, kinds)}


def turned(module: nn.Module, prefix: str = "") -> frozenset[str]:
    """The linears' weights that are stored ``[in, out]``: GPT-2's, whose class is called a convolution."""
    return frozenset(name for name, child in linears(module, prefix).items() if not isinstance(child, nn.Linear))


def other_way(tensor: Tensor) -> Tensor:
    """A matrix ``[out, in]`` as ``[in, out]``, or back."""
    return tensor.T.contiguous()


def matrices(module: PreTrainedModel) -> tuple[str, ...]:
    """The weights that passes work on, in the module's order: the layers' linears, the embedding and the head."""
    path, layers = layer_list(module)
    ends = [module.get_input_embeddings(), module.get_output_embeddings()]
    inside = set(linears(layers, path))
    inside |= {f"{name}.weight" for name, child in module.named_modules() if any(child is end for end in ends)}
    return tuple(name for name in module.state_dict() if name in inside)
