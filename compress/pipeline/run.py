"""Run a pipeline on a model and write the variant: the one place where passes are run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from compress.calibration.block import Block
from compress.calibration.data import Calibration
from compress.calibration.layer_inputs import BlockInputs
from compress.calibration.overlap import Sketch
from compress.calibration.statistics import Statistic
from compress.calibration.survey import Survey
from compress.calibration.walk import walk_blocks
from compress.calibration.whole_model import WholeInputs
from compress.checkpoint.files.hashes import config_digest
from compress.checkpoint.files.manifest import LayerReport, Manifest, Source
from compress.checkpoint.model import Model
from compress.checkpoint.variant import Variant
from compress.checkpoint.writing.writer import VariantWriter, WriteOptions
from compress.errors import PassError
from compress.modeling.architecture import Architecture
from compress.pipeline.contract import TargetCapability, WeightPass
from compress.pipeline.parse import Pipeline
from compress.pipeline.resolve import ResolvedPipeline, resolve
from compress.pipeline.steps import Step, plan_steps, run_steps
from compress.progress import Progress
from compress.system.machine import machine, versions
from compress.weights.forms import Weight


@dataclass(frozen=True)
class FinishedBlock:
    """A block by the names that it is stored by.

    ``unchanged`` maps the names of matrices that are as the model has them to their names there. ``acted`` are the
    passes that changed something in it, or dropped layers before it; ``seconds`` were spent on all of that, statistics
    included.
    """

    block: Block
    unchanged: Mapping[str, str]
    acted: Sequence[WeightPass]
    seconds: float


def run_pipeline(
    model: Model,
    pipeline: Pipeline,
    target: TargetCapability,
    out: Path,
    calibration: Callable[[], Calibration],
    seed: int,
    progress: Progress,
    options: WriteOptions | None = None,
) -> Variant:
    """Run a pipeline's weight passes over a model, block by block, and write the variant into the directory ``out``.

    The pipeline is resolved for the model and the ``target`` unless it is already. ``calibration`` is called only if a
    pass reads statistics. ``options`` say how the checkpoint is written. Raises UsageError as `resolve` does, and
    PassError where a pass breaks its contract.
    """
    resolved = resolve(model, pipeline, target)
    data = calibration() if resolved.required_statistic() > Statistic.NONE else None
    inputs = None if data is None else data.inputs
    torch.manual_seed(seed)
    original, model, acted = model, *_reparameterize(model, resolved.weight_passes)
    planned = _plan(resolved, model, inputs, progress)
    steps, architecture = plan_steps(model.architecture, planned.weight_passes)
    writer = VariantWriter(model, architecture, out, options or WriteOptions())
    walk = walk_blocks(model, inputs, progress, originals=planned.required_statistic() >= Statistic.MISMATCH)
    blocks = _run_by_block([step for step in steps if not step.weight_pass.on_whole_model()], walk, architecture)
    if whole_steps := [step for step in steps if step.weight_pass.on_whole_model()]:
        assert inputs is not None, "a pass on the whole model reads calibration data"
        blocks = _run_on_whole_model(whole_steps, model, architecture, inputs, list(blocks), progress)
    layers, acted_on_blocks = _write(blocks, writer)
    acted |= acted_on_blocks
    for name in dict.fromkeys(map(str, planned.weight_passes)):
        if name not in acted:
            progress.notice(f"{name} changed nothing")
    manifest = Manifest(
        source=_source(original),
        pipeline=str(planned.written),
        recipe=[str(pass_) for pass_ in planned.passes],
        seed=seed,
        calibration="none" if data is None else str(data),
        calibration_sketch="" if data is None else Sketch.of(data).encode(),
        versions=versions(),
        machine=machine(),
        layers=layers,
    )
    return writer.finish(manifest, progress)


def _reparameterize(model: Model, passes: Iterable[WeightPass]) -> tuple[Model, set[str]]:
    """The model that passes make of a model before any block is walked, and those that made another of it."""
    acted: set[str] = set()
    for pass_ in passes:
        before, model = model, pass_.reparameterize(model)
        acted |= {str(pass_)} if model is not before else set()
    return model, acted


def _plan(pipeline: ResolvedPipeline, model: Model, inputs: Tensor | None, progress: Progress) -> ResolvedPipeline:
    """The pipeline with what only a look at the whole model can decide."""
    survey = Survey(model, inputs, progress)
    passes = (pass_.plan(survey) if isinstance(pass_, WeightPass) else pass_ for pass_ in pipeline.passes)
    return replace(pipeline, passes=tuple(passes))


def _run_by_block(
    steps: Sequence[Step], walk: Iterable[tuple[Block, BlockInputs]], architecture: Architecture
) -> Iterator[FinishedBlock]:
    """Run passes over block after block; ``architecture`` is the one that all passes leave.

    Raises PassError where other than its number of layers are left.
    """
    layers_left = dict.fromkeys(architecture.outline.layer_counts, 0)
    acted: list[WeightPass] = []
    start = time.perf_counter()
    for block, inputs in walk:
        loaded, index = dict(block.weights), layers_left.get(block.stack, 0)
        acted += run_steps(steps, block, inputs, index)
        if block.dropped or block.draft:
            continue
        end = time.perf_counter()
        yield _finish(block, loaded, index, acted, end - start)
        start, acted = end, []
        if block.role == "layer":
            layers_left[block.stack] += 1
    for stack, count in architecture.outline.layer_counts.items():
        if layers_left[stack] != count:
            raise PassError(f"{layers_left[stack]} layers are left, but by the variant's config {count} are needed")


def _finish(
    block: Block, loaded: Mapping[str, Weight], index: int, acted: Sequence[WeightPass], seconds: float
) -> FinishedBlock:
    """A block by the names of the variant's layer ``index``; ``loaded`` are its matrices as the model has them."""
    stored = block.numbered(index)
    names = zip(stored.weights, block.weights, strict=True)
    unchanged = {new: old for new, old in names if block.weights[old] is loaded[old]}
    return FinishedBlock(stored, unchanged, acted, seconds)


def _run_on_whole_model(
    steps: Sequence[Step],
    model: Model,
    architecture: Architecture,
    inputs: Tensor,
    parts: Sequence[FinishedBlock],
    progress: Progress,
) -> Iterator[FinishedBlock]:
    """Run passes over all blocks as one, and take it apart again."""
    weights = {name: weight for part in parts for name, weight in part.block.weights.items()}
    vectors = {name: vector for part in parts for name, vector in part.block.vectors.items()}
    reports = {name: report for part in parts for name, report in part.block.reports.items()}
    union = Block("model", "model", dict(weights), vectors, reports=reports)
    acted = run_steps(steps, union, WholeInputs(model, architecture, union, inputs, progress), 0)
    for part in parts:
        block = part.block
        block.weights |= {name: union.weights[name] for name in block.weights}
        block.vectors |= {name: union.vectors[name] for name in block.vectors}
        block.reports |= {name: union.reports[name] for name in block.weights if name in union.reports}
        unchanged = {new: old for new, old in part.unchanged.items() if union.weights[new] is weights[new]}
        yield replace(part, unchanged=unchanged, acted=[*part.acted, *acted])


def _write(blocks: Iterable[FinishedBlock], writer: VariantWriter) -> tuple[dict[str, LayerReport], set[str]]:
    """Write blocks as they come; returns the layers' reports, and the passes that changed something."""
    layers: dict[str, LayerReport] = {}
    acted: set[str] = set()
    for finished in blocks:
        acted.update(map(str, finished.acted))
        writer.add(finished.block.weights, finished.block.vectors, finished.unchanged)
        if finished.block.reports:
            layers[finished.block.name] = LayerReport(seconds=finished.seconds, weights=finished.block.reports)
        del finished  # an embedding must not stay in memory while the first layer is solved
    return layers, acted


def _source(model: Model) -> Source:
    return Source(
        name=model.source,
        sha256=model.digest,
        config_sha256=config_digest(model.path),
        files=model.file_sums,
        architecture=model.class_name,
        kind=model.kind,
        parameters=model.parameters,
        nbytes=model.nbytes,
        tied=model.tied,
        dequantized=model.quantized_by,
    )
