"""Pass ``int4``: 4 bits a weight, solved on calibration text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic.dataclasses import dataclass

from compress.passes.base.low_bit import LowBit


@dataclass(frozen=True)
class Int4(LowBit):
    """Weights in 4 bits, with a scale for every group of inputs."""

    name: ClassVar[str] = "int4"
    bits: ClassVar[int] = 4
    presets: ClassVar[Mapping[str, str]] = {"W4A16": "group=128", "W4A16_ASYM": "group=128:symmetry=asym"}
