"""Load a checkpoint's weights into a transformers module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from compress.checkpoint.base import Checkpoint
from compress.modeling.architecture import Architecture
from compress.modeling.quiet import quiet_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load_module(checkpoint: Checkpoint, built: Architecture, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """The module with a checkpoint's weights, dequantized, for inference: the whole model in memory."""
    from transformers import GenerationConfig

    def read(name: str) -> Tensor:
        if len(shapes[name]) != 2:
            return checkpoint.tensor(name)
        return built.to_out_in(name, checkpoint.weight(name).dequantize())

    shapes = built.shapes()
    state = {name: read(name) for name in checkpoint.names}
    with quiet_transformers():
        module = built.cls.from_pretrained(None, config=built.config, state_dict=state, dtype=dtype, **built.options)
    if (checkpoint.path / "generation_config.json").is_file():
        module.generation_config = GenerationConfig.from_pretrained(checkpoint.path)
    return module.eval()  # type: ignore[no-any-return]
