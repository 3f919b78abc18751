"""Pass ``fp16``: every tensor in IEEE float16."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass

from compress.lazy import torch
from compress.passes.base.half import Half


@dataclass(frozen=True)
class Fp16(Half):
    """Every tensor in IEEE float16 (11 significant bits, magnitudes to 65504)."""

    name: ClassVar[str] = "fp16"

    @property
    def dtype(self) -> torch.dtype:
        """float16."""
        return torch.float16
