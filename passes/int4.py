"""Passes ``int4``, ``int3`` and ``int2``: few bits a weight, solved on calibration text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic.dataclasses import dataclass

from compress.passes.base.integer import Integer


@dataclass(frozen=True)
class Int4(Integer):
    """Weights in 4 bits, with a scale for every group of inputs."""

    name: ClassVar[str] = "int4"
    bits: ClassVar[int] = 4
    schemes: ClassVar[Mapping[str, str]] = {"W4A16": "group=128", "W4A16_ASYM": "group=128:symmetry=asym"}


@dataclass(frozen=True)
class Int3(Integer):
    """Weights in 3 bits, with a scale for every group of inputs."""

    name: ClassVar[str] = "int3"
    bits: ClassVar[int] = 3


@dataclass(frozen=True)
class Int2(Integer):
    """Weights in 2 bits, with a scale for every group of inputs: small, and rarely accurate enough."""

    name: ClassVar[str] = "int2"
    bits: ClassVar[int] = 2
