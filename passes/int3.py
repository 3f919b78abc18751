"""Pass ``int3``: 3 bits a weight, solved on calibration text."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass

from compress.passes.base.low_bit import LowBit


@dataclass(frozen=True)
class Int3(LowBit):
    """Weights in 3 bits, with a scale for every group of inputs."""

    name: ClassVar[str] = "int3"
    bits: ClassVar[int] = 3
