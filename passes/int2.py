"""Pass ``int2``: 2 bits a weight, solved on calibration text."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass

from compress.passes.base.low_bit import LowBit


@dataclass(frozen=True)
class Int2(LowBit):
    """Weights in 2 bits, with a scale for every group of inputs: small, and rarely accurate enough."""

    name: ClassVar[str] = "int2"
    bits: ClassVar[int] = 2
