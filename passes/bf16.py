"""Pass ``bf16``: every tensor in bfloat16."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass

from compress.passes.base.half import Half


@dataclass(frozen=True)
class Bf16(Half):
    """Every tensor in bfloat16 (8 significant bits, float32's range)."""

    name: ClassVar[str] = "bf16"
    dtype: ClassVar[torch.dtype] = torch.bfloat16
