"""Pass ``int6``: 6 bits a weight, solved on calibration text."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass

from compress.passes.base.low_bit import LowBit


@dataclass(frozen=True)
class Int6(LowBit):
    """Weights in 6 bits, with a scale for every group of inputs."""

    name: ClassVar[str] = "int6"
    bits: ClassVar[int] = 6
