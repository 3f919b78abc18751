"""Pass ``bf16``: every tensor in bfloat16."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass

from compress.lazy import torch
from compress.passes.base.half import Half


@dataclass(frozen=True)
class Bf16(Half):
    """Every tensor in bfloat16 (8 significant bits, float32's range)."""

    name: ClassVar[str] = "bf16"

    @property
    def dtype(self) -> torch.dtype:
        """bfloat16."""
        return torch.bfloat16
