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


def load_module(
    checkpoint: Checkpoint, architecture: Architecture, dtype: torch.dtype = torch.float32
) -> PreTrainedModel:
    """The module with a checkpoint's weights, dequantized, for inference: the whole model in memory."""
    from transformers import GenerationConfig

    def read(name: str) -> Tensor:
        if len(shapes[name]) != 2:
            return checkpoint.tensor(name)
        return architecture.to_stored_layout(name, checkpoint.weight(name).dequantize())

    shapes = architecture.outline.shapes
    state = {name: read(name) for name in checkpoint.names}
    with quiet_transformers():
        module = architecture.cls.from_pretrained(
            None,
            config=architecture.config,
            state_dict=state,
            dtype=dtype,
            trust_remote_code=False,
            **architecture.options,
        )
    if (checkpoint.path / "generation_config.json").is_file():
        module.generation_config = GenerationConfig.from_pretrained(checkpoint.path)
    return module.eval()  # type: ignore[no-any-return]
