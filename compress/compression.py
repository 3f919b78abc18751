"""From a model and a pipeline to a variant: the one place where passes are run, checked and written out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from compress.contract import Statistic, WeightPass
from compress.errors import PassError
from compress.machine import machine, versions
from compress.manifest import Manifest, Source
from compress.model import Model
from compress.pipeline import Pipeline
from compress.progress import Progress
from compress.variant import Variant, VariantWriter
from compress.walk import walk_blocks
from compress.weight import Weight, is_finite, mask_of


@dataclass(frozen=True)
class Calibration:
    """The text that statistics are taken on: int64 ``tokens`` ``[windows, length]``, and where it is from."""

    tokens: Tensor
    origin: str

    def __str__(self) -> str:
        windows, length = self.tokens.shape
        return f"{self.origin}, {windows} windows of {length} tokens"


def settle(model: Model, pipeline: Pipeline) -> Pipeline:
    """The pipeline with every option decided for this model; raises UsageError where a pass can't work on it."""
    return replace(pipeline, passes=tuple(item.settle(model) for item in pipeline.passes))


def compress_model(
    model: Model,
    pipeline: Pipeline,
    out: Path,
    calibration: Callable[[], Calibration],
    seed: int,
    progress: Progress,
) -> Variant:
    """Run a pipeline's weight passes over a model, block by block, and write the variant into the directory ``out``.

    ``calibration`` is called only if a pass reads statistics. Raises PassError where a pass breaks its contract.
    """
    settled = settle(model, pipeline)
    passes = settled.weight_passes
    needed = max((item.needs() for item in passes), default=Statistic.NONE)
    text = calibration() if needed > Statistic.NONE else None
    torch.manual_seed(seed)
    writer = VariantWriter(model, out)
    for block, observe in walk_blocks(model, text.tokens if text else None, progress):
        for item in passes:
            before = dict(block.weights)
            item.run(block, observe(item.needs()))
            _check(item, before, block.weights)
        writer.add(block.weights, block.vectors)
    return writer.finish(
        Manifest(
            source=_source(model),
            pipeline=str(pipeline),
            recipe=[str(item) for item in settled.passes],
            seed=seed,
            calibration=str(text) if text else "none",
            versions=versions(),
            machine=machine(),
        )
    )


def _source(model: Model) -> Source:
    return Source(
        name=model.source,
        sha256=model.digest,
        architecture=model.architecture,
        kind=model.kind,
        parameters=model.parameters,
        nbytes=model.nbytes,
        tied=model.tied,
    )


def _check(item: WeightPass, before: Mapping[str, Weight], after: Mapping[str, Weight]) -> None:
    """The postconditions of every pass; a PassError names the pass, the weight and what it broke."""
    for name, old in before.items():
        new = after.get(name)
        if new is None:
            raise PassError(f"{item.name} lost {name}; this is a bug in the pass")
        if new.shape != old.shape:
            raise PassError(f"{item.name} changed {name} from {list(old.shape)} to {list(new.shape)}")
        if new.nbytes() > old.nbytes():
            raise PassError(f"{item.name} made {name} larger: {new.nbytes()} bytes instead of {old.nbytes()}")
        if not is_finite(new):
            raise PassError(f"{item.name} left NaN or infinite values in {name}")
        mask = mask_of(old)
        if mask is not None and bool(new.dequantize().masked_select(~mask).any()):
            raise PassError(f"{item.name} filled zeros of {name} that an earlier pass had promised to keep")
