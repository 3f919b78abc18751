"""A pass of your own: prune the smallest weights, then quantize what is left, in one pipeline.

python examples/custom_pass.py [MODEL] [OUT]
"""

import sys
from pathlib import Path
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from compress import Model, compress_model
from compress.calibration.statistics import InputStatistics
from compress.errors import PassError
from compress.pipeline.contract import WeightPass
from compress.weights.forms import Dense, Masked, Weight


# Having a `name` registers the pass. Its fields are its options: `magnitude:ratio=0.3`.
@dataclass(frozen=True)
class Magnitude(WeightPass):
    """Zero the smallest weights of every matrix."""

    name: ClassVar[str] = "magnitude"
    produces: ClassVar[tuple[type, ...]] = (Masked,)

    ratio: float = Field(0.5, gt=0, lt=1, description="share of every matrix that becomes zero")

    def apply(self, name: str, weight: Weight, stats: InputStatistics) -> Weight:
        """The matrix with its smallest magnitudes at zero, and a mask that keeps them there."""
        if not isinstance(weight, Dense):
            raise PassError(f"magnitude works on dense weights; {name} is {type(weight).__name__}")
        magnitudes = weight.tensor.abs()
        threshold = magnitudes.flatten().kthvalue(int(self.ratio * magnitudes.numel())).values
        mask = magnitudes > threshold
        return Masked(weight.tensor * mask, mask)


def main(source: str = "demo:smollm2", out: str = "out/custom-pass") -> None:
    """Run the pass together with one that comes with the program, and print how many weights are zero."""
    variant = compress_model(Model.open(source), "magnitude:ratio=0.3,int8", Path(out), overwrite=True)
    matrices = [variant.weight(name).dequantize() for name in variant.manifest.weights]
    zeros, count = sum(int((m == 0).sum()) for m in matrices), sum(torch.numel(m) for m in matrices)
    print(f"{variant.manifest.nbytes / 1e6:.1f} MB, {100 * zeros / count:.1f} % of the weights are zero")


if __name__ == "__main__":
    main(*sys.argv[1:])
