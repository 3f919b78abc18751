"""Base of the passes of fewer than 8 bits: small groups, and no smoothing unless asked for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from compress.passes.base.integer import Integer


@dataclass(frozen=True, kw_only=True)
class LowBit(Integer):
    """Weights in fewer than 8 bits, with a scale for every group of inputs."""

    group: Literal["32", "64", "128", "channel"] = Field("32", description="inputs that share a scale")
    smooth: Literal["awq", "off"] = Field(
        "off", description="awq: scale the inputs' most active channels up in the weights, down in what makes them"
    )
