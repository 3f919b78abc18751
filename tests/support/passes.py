"""Variants of tiny models, by the pipeline's text or with weights in any form that a test wants."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import torch

from compress.calibration.data import Calibration
from compress.calibration.statistics import InputStatistics
from compress.checkpoint.model import Model
from compress.checkpoint.variant import Variant
from compress.checkpoint.writing.writer import WriteOptions
from compress.export.targets.hf import Hf
from compress.pipeline.contract import TargetCapability, WeightPass
from compress.pipeline.parse import Pipeline
from compress.pipeline.run import run_pipeline
from compress.progress import Progress, Silent
from compress.weights.forms import Dense, Quantized, Weight

Form = Callable[[str, torch.Tensor], Weight | None]


class Stored(WeightPass):
    """Every matrix as ``form(name, tensor)`` has it; None leaves it as it is."""

    produces: ClassVar[tuple[type, ...]] = (Quantized, Dense)

    def __init__(self, form: Form) -> None:
        self.form = form

    def __str__(self) -> str:
        return "stored"

    def apply(self, name: str, weight: Weight, stats: InputStatistics | None) -> Weight:
        form = self.form(name, weight.tensor)
        return weight if form is None else form


Stored.name = "stored"  # set here, and so not in the registry, which would list it among the passes


def make_variant(
    source: Path,
    pipeline: str | Pipeline | Form,
    capability: TargetCapability,
    out: Path,
    tokens: torch.Tensor | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    options: WriteOptions | None = None,
) -> Variant:
    """Compress the model at ``source`` into ``out``, which is made; ``tokens`` are the calibration's windows."""
    out.mkdir(exist_ok=True)
    if isinstance(pipeline, str):
        pipeline = Pipeline.parse(pipeline)
    elif not isinstance(pipeline, Pipeline):
        pipeline = Pipeline((Stored(pipeline),))

    def calibration() -> Calibration:
        assert tokens is not None, "this pipeline wants calibration, and the test gives no tokens"
        return Calibration(tokens, "test")

    model = Model.open(str(source))
    return run_pipeline(model, pipeline, capability, out, calibration, seed, progress or Silent(), options)


def layers_variant(
    source: Path,
    out: Path,
    form: Callable[[torch.Tensor], Weight],
    options: WriteOptions,
    head: bool = False,
    progress: Progress | None = None,
) -> Variant:
    """Write every matrix of a decoder's layers, and its ``head`` where asked, as ``form(tensor)`` has it."""

    def form_of(name: str, tensor: torch.Tensor) -> Weight | None:
        return form(tensor) if "_proj" in name or (head and "lm_head" in name) else None

    return make_variant(source, form_of, Hf.capability, out, progress=progress, options=options)
