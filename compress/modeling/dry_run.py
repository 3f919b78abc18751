"""Dry run of a model on torch's meta device: the shapes that its own code computes, without weights and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from compress.modeling.modules import stacks
from compress.modeling.quiet import first_line, quiet_transformers

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from compress.modeling.kinds import TaskKind

_TOKENS = 5
_INDEX = ("layer_idx", "layer_id", "layer_number")
_NEEDS_NUMBERS = "meta tensor"
"""What torch says where a model's code looks at numbers, which there are none of: no fault of the model's."""


def failure(module: PreTrainedModel, kind: TaskKind) -> str | None:
    """What transformers' own code raises on a ``module`` on the meta device, in one line; None where it runs.

    Nothing is told from where the code looks at numbers on; that no row of an empty table can be looked up needs none.
    Layers that are alike are run once: the module is for nothing else afterwards.
    """
    if empty := next((name for name, tensor in module.state_dict().items() if not tensor.numel()), None):
        return f"{empty} is without any number"
    for _, layers in stacks(module):
        _keep_different(layers)
    try:
        with quiet_transformers(), torch.no_grad():
            module.set_experts_implementation("batched_mm")  # the default's kernel wants 16 bits there
            inputs = dry_inputs(module.config, kind)
            output = module.eval()(**inputs)
            if kind.is_decoder_only:
                module(**inputs, past_key_values=output.past_key_values)
    except Exception as error:  # whatever sizes that don't fit each other lead to
        if isinstance(error, NotImplementedError) or _NEEDS_NUMBERS in str(error):
            return None
        return f"{type(error).__name__}: {first_line(error)}"
    return None


def _keep_different(layers: nn.ModuleList) -> None:
    """Leave of a stack the first layer of each kind: alike are those of the same shapes and settings."""
    kinds = {_signature(layer): layer for layer in reversed(layers)}
    del layers[:]
    layers.extend(reversed(kinds.values()))


def _signature(layer: nn.Module) -> tuple[object, ...]:
    """The classes, shapes and settings of a layer's modules; their numbers in the stack are none."""
    shapes = tuple((name, tuple(tensor.shape)) for name, tensor in layer.state_dict().items())
    settings = tuple(
        (path, type(child), name, value)
        for path, child in layer.named_modules()
        for name, value in vars(child).items()
        if isinstance(value, int | float | str | None) and not name.endswith(_INDEX)
    )
    return (shapes, *settings)


def dry_inputs(config: PretrainedConfig, kind: TaskKind) -> Mapping[str, Tensor]:
    if kind.is_vision:
        size = config.image_size
        height, width = (size, size) if isinstance(size, int) else size
        return {"pixel_values": torch.empty(1, config.num_channels, height, width, device="meta")}
    ids = torch.empty(1, _TOKENS, dtype=torch.long, device="meta")
    return {"input_ids": ids, "decoder_input_ids": ids} if kind.is_seq2seq else {"input_ids": ids}
