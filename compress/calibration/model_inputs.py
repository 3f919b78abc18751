"""Build a model's forward arguments from a batch."""

from __future__ import annotations

import torch
from torch import Tensor


def model_inputs(batch: Tensor) -> dict[str, Tensor]:
    """The arguments of a model that reads a batch: text int64 ``[b, s]`` without padding, or images ``[b, c, h, w]``.

    Images are floats, normalized as the model expects them.
    """
    if batch.is_floating_point():
        return {"pixel_values": batch}
    return {"input_ids": batch, "attention_mask": torch.ones_like(batch)}
