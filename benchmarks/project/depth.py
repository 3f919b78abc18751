"""Cost of compressing by depth: truncated copies of a model, and a linear fit."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.torch import save_file

from compress.benchmarks.project.cost import Cost, cost
from compress.checkpoint.model import Model

DEPTHS = (4, 8, 16, 30)
_LAYER = re.compile(r"\.layers\.(\d+)\.")


def measure_costs(
    model: Model, pipeline: str, calibration: Path, samples: int, length: int, scratch: Path
) -> dict[int, Cost]:
    """Measure the cost of a pipeline for each depth."""
    return {
        depth: cost(truncated(model, depth, scratch / str(depth)), pipeline, calibration, samples, length)
        for depth in DEPTHS
    }


def truncated(model: Model, depth: int, out: Path) -> Path:
    """Write a decoder's first ``depth`` layers, with its embedding and head, as a checkpoint of its own."""
    layers = {name: _LAYER.search(name) for name in model.names}
    names = [name for name, layer in layers.items() if layer is None or int(layer[1]) < depth]
    config = copy.deepcopy(model.config)
    config.num_hidden_layers = depth
    config.save_pretrained(out)
    save_file({name: model.tensor(name) for name in names}, out / "model.safetensors", metadata={"format": "pt"})
    model.tokenizer().save_pretrained(out)
    return out


@dataclass(frozen=True)
class LinearFit:
    """Seconds = ``start`` + ``layer`` · depth, by least squares; ``r2`` is the share of the variance that it explains.

    ``growth``: seconds that a layer takes in the deeper half of the depths over those in the shallower half. R² barely
    notices a curve as long as the seconds rise; this figure does.
    """

    start: float
    layer: float
    r2: float
    growth: float

    @classmethod
    def fit(cls, costs: Mapping[int, Cost]) -> LinearFit:
        """Fit a line through at least three depths."""
        depths = np.array(sorted(costs), dtype=np.float64)
        seconds = np.array([costs[int(depth)].seconds for depth in depths])
        layer, start = np.polyfit(depths, seconds, 1)
        residual = ((seconds - start - layer * depths) ** 2).sum()
        middle = len(depths) // 2
        early = (seconds[middle] - seconds[0]) / (depths[middle] - depths[0])
        late = (seconds[-1] - seconds[middle]) / (depths[-1] - depths[middle])
        r2 = 1 - residual / ((seconds - seconds.mean()) ** 2).sum()
        return cls(float(start), float(layer), float(r2), float(late / early))


def cost_figures(costs: Mapping[int, Cost]) -> dict[str, float]:
    """Figures of the goals: the deepest model's seconds and peak memory, and the line's R² and growth."""
    deepest, line = costs[max(costs)], LinearFit.fit(costs)
    return {"wall_s": deepest.seconds, "peak_gib": deepest.peak_rss / 2**30, "r2": line.r2, "growth": line.growth}


def cost_lines(costs: Mapping[int, Cost]) -> Sequence[str]:
    """A line a depth, and the straight line through them."""
    line = LinearFit.fit(costs)
    return [
        "layers  seconds  peak RSS, GB",
        *(f"{depth:6}  {cost.seconds:7.1f}  {cost.peak_rss / 1e9:12.2f}" for depth, cost in sorted(costs.items())),
        f"seconds = {line.start:.1f} + {line.layer:.2f} × layers, R² {line.r2:.4f}; "
        f"a layer of the deeper half takes {line.growth:.2f}× the seconds of one of the shallower half",
    ]
