"""Load a block's tensors into a torch module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from compress.calibration.block import Block
from compress.modeling.modules import transposed, transposed_weights
from compress.modeling.transformers_private import init_module

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load_block(layer: nn.Module, block: Block) -> None:
    """Load a block's current weights into a layer, in float32, whatever their shapes."""
    state = {name: weight.dequantize() for name, weight in block.weights.items()}
    state |= {name: vector.float() for name, vector in block.vectors.items()}
    local, other = to_layer_names(layer, block, state), transposed_weights(layer, block.name)
    for name, own in layer.state_dict().items():
        if name in local and local[name].shape != own.shape:  # which no state dict may change
            owner, _, attribute = name.rpartition(".")
            module = layer.get_submodule(owner)
            setattr(module, attribute, nn.Parameter(local[name]))
            if f"{block.name}.{name}" in other:
                module.nf = local[name].shape[1]  # type: ignore[assignment]  # such a linear shapes its outputs by it
    layer.load_state_dict(local, assign=True)
    layer.requires_grad_(False)


def to_layer_names(layer: nn.Module, block: Block, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a block by their names in the layer, the way round that it stores them."""
    other = transposed_weights(layer, block.name)
    return {
        name.removeprefix(f"{block.name}."): transposed(tensor) if name in other else tensor
        for name, tensor in tensors.items()
    }


def materialize(module: PreTrainedModel, state: Mapping[str, Tensor]) -> None:
    """Load a ``state`` into a module on the meta device, and compute its buffers."""
    init_buffers(module, module)  # first: what computes a buffer may also draw weights anew
    module.load_state_dict(state, strict=False, assign=True)


def init_buffers(module: PreTrainedModel, part: nn.Module) -> None:
    """Compute the buffers of a part of a module that are on the meta device."""
    for child in part.modules():
        computed = {name: b for name, b in child.named_buffers(recurse=False) if b.is_meta}
        for name, buffer in computed.items():
            stored = name not in child._non_persistent_buffers_set
            child.register_buffer(name, torch.empty_like(buffer, device="cpu"), persistent=stored)
        if computed:
            init_module(module, child)  # the only code that knows what such a buffer holds (rotary frequencies, …)
