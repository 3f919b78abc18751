"""From a model and a pipeline to a variant: the one place where passes are run, checked and written out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from compress.calibration.block import Block
from compress.calibration.data import Calibration
from compress.calibration.layer_inputs import BlockInputs
from compress.calibration.statistics import Statistic
from compress.calibration.walk import walk_blocks
from compress.calibration.whole_model import WholeInputs
from compress.checkpoint.manifest import LayerReport, Manifest, Source
from compress.checkpoint.model import Model
from compress.checkpoint.storage import WriteOptions
from compress.checkpoint.variant import Variant, VariantWriter
from compress.errors import PassError, UsageError
from compress.modeling.architecture import Architecture
from compress.pipeline.contract import Pass, TargetCapability, WeightPass, resolve_for
from compress.pipeline.parse import Pipeline
from compress.progress import Progress
from compress.system.machine import machine, versions
from compress.weights.forms import Weight, is_finite, keeps_zeros
from compress.weights.stored import WeightReport

Shapes = Mapping[str, tuple[int, ...]]
Step = tuple[WeightPass, Shapes]
"""A pass, and the shapes that tensors have after it."""

_SURVEYED = 4
"""Calibration windows that a pass sees when it plans."""


@dataclass(frozen=True)
class Made:
    """A block by the names that it is stored by, with what is ``unchanged``, by its name in the model."""

    block: Block
    unchanged: Mapping[str, str]
    seconds: float


def resolve(model: Model, pipeline: Pipeline, target: TargetCapability) -> Pipeline:
    """The pipeline with every option decided for this model and a target that holds so much.

    Each pass decides on the shapes that the ones before it leave.

    Raises UsageError where a pass can't work on them.
    """
    decided: list[Pass] = []
    dropping: Pass | None = None
    for item in pipeline.passes:
        decided.append(one := resolve_for(item, model, target))
        if isinstance(one, WeightPass):
            layers, model = model.config.num_hidden_layers, model.resized(one.resize)
            if model.config.num_hidden_layers < layers:
                if dropping is not None:  # both would choose from, and number, the layers that the model came with
                    raise UsageError(f"{dropping} and {one} both drop layers; let one of them drop them all")
                dropping = one
    return replace(pipeline, passes=tuple(decided))


def run_pipeline(
    model: Model,
    pipeline: Pipeline,
    target: TargetCapability,
    out: Path,
    calibration: Callable[[], Calibration],
    seed: int,
    progress: Progress,
    storage: WriteOptions | None = None,
) -> Variant:
    """Run a pipeline's weight passes over a model, block by block, and write the variant into the directory ``out``.

    ``target`` is what the variant's target can hold. ``calibration`` is called only if a pass reads statistics.
    ``storage`` says how the checkpoint is written. Raises UsageError as `resolve` does, and PassError where a pass
    breaks its contract.
    """
    decided = resolve(model, pipeline, target)
    needed = decided.required_statistic()
    text = calibration() if needed > Statistic.NONE else None
    tokens = text.inputs if text else None
    torch.manual_seed(seed)
    survey = partial(walk_blocks, model, None if tokens is None else tokens[:_SURVEYED], progress, doing="surveying")
    planned = [item.plan(survey) if isinstance(item, WeightPass) else item for item in decided.passes]
    passes = [item for item in planned if isinstance(item, WeightPass)]
    shapes, architecture = _resized(model.architecture, passes)
    writer = VariantWriter(model, architecture, out, storage or WriteOptions())
    idle = dict.fromkeys(map(str, passes))
    walk = walk_blocks(model, tokens, progress, originals=needed >= Statistic.MISMATCH)
    steps = list(zip(passes, shapes, strict=True))
    found = _by_layer(walk, [step for step in steps if not step[0].on_whole_model()], idle, architecture.layer_counts)
    if whole := [step for step in steps if step[0].on_whole_model()]:
        assert tokens is not None, "a pass on the whole model reads text"
        found = _as_one(model, architecture, tokens, list(found), whole, idle, progress)
    layers: dict[str, LayerReport] = {}
    for made in found:
        writer.add(made.block.weights, made.block.vectors, made.unchanged)
        if made.block.reports:
            layers[made.block.name] = LayerReport(seconds=made.seconds, weights=made.block.reports)
        del made  # an embedding must not stay in memory while the first layer is solved
    for name in idle:
        progress.notice(f"{name} changed nothing")
    return writer.finish(
        Manifest(
            source=_source(model),
            pipeline=str(pipeline),
            recipe=[str(item) for item in planned],
            seed=seed,
            calibration=str(text) if text else "none",
            versions=versions(),
            machine=machine(),
            layers=layers,
        ),
        progress,
    )


def _by_layer(
    walk: Iterable[tuple[Block, BlockInputs]], steps: Sequence[Step], idle: dict[str, None], depths: Mapping[str, int]
) -> Iterator[Made]:
    """Run passes over block after block; those that act go from ``idle``.

    Raises PassError where other than ``depths`` layers are left of each list.
    """
    kept = dict.fromkeys(depths, 0)
    begin = time.perf_counter()
    for block, inputs in walk:
        loaded, index = dict(block.weights), kept.get(block.stack, 0)
        for item in _run(steps, block, inputs, index):
            idle.pop(str(item), None)
        if block.dropped:
            continue
        now = time.perf_counter()
        yield _made(block, loaded, index, now - begin)
        begin = now
        if block.role == "layer":
            kept[block.stack] += 1
    for stack, count in depths.items():
        if kept[stack] != count:
            raise PassError(f"{kept[stack]} layers are left, but by the variant's config {count} are needed")


def _made(block: Block, loaded: Mapping[str, Weight], index: int, seconds: float) -> Made:
    stored = block.numbered(index)
    names = zip(stored.weights, block.weights, strict=True)
    return Made(stored, {new: old for new, old in names if block.weights[old] is loaded[old]}, seconds)


def _as_one(
    model: Model,
    architecture: Architecture,
    tokens: Tensor,
    parts: Sequence[Made],
    steps: Sequence[Step],
    idle: dict[str, None],
    progress: Progress,
) -> Iterator[Made]:
    """Run passes over all blocks as one, and take it apart again."""
    weights = {name: weight for part in parts for name, weight in part.block.weights.items()}
    vectors = {name: vector for part in parts for name, vector in part.block.vectors.items()}
    reports = {name: told for part in parts for name, told in part.block.reports.items()}
    whole = Block("model", "model", dict(weights), vectors, reports=reports)
    for item in _run(steps, whole, WholeInputs(model, architecture, whole, tokens, progress), 0):
        idle.pop(str(item), None)
    for part in parts:
        block = part.block
        block.weights |= {name: whole.weights[name] for name in block.weights}
        block.vectors |= {name: whole.vectors[name] for name in block.vectors}
        block.reports |= {name: whole.reports[name] for name in block.weights if name in whole.reports}
        same = {new: old for new, old in part.unchanged.items() if whole.weights[new] is weights[new]}
        yield replace(part, unchanged=same)


def _source(model: Model) -> Source:
    return Source(
        name=model.source,
        sha256=model.digest,
        architecture=model.class_name,
        kind=model.kind,
        parameters=model.parameters,
        nbytes=model.nbytes,
        tied=model.tied,
    )


def _resized(architecture: Architecture, passes: Sequence[WeightPass]) -> tuple[list[Shapes], Architecture]:
    """The shapes that tensors have after each pass, and the architecture that all of them together leave."""
    shapes: list[Shapes] = []
    for item in passes:
        architecture = architecture.resized(item.resize)
        shapes.append(architecture.shapes())
    return shapes, architecture


def _run(steps: Sequence[Step], block: Block, inputs: BlockInputs, index: int) -> Iterator[WeightPass]:
    """Run passes over a block, which will be the variant's layer ``index`` unless one drops it; yield what acts."""
    for item, expected in steps:
        before, vectors, told = dict(block.weights), dict(block.vectors), dict(block.reports)
        item.run(block, inputs)
        if block.dropped:
            yield item
            return
        _check_shapes(item, block, block.numbered(index), expected)
        _check(item, before, block.weights)
        _report(item, before, told, block)
        if _differ(before, block.weights) or _differ(vectors, block.vectors):
            yield item


def _differ(before: Mapping[str, object], after: Mapping[str, object]) -> bool:
    return any(after[name] is not old for name, old in before.items())


def _report(item: WeightPass, before: Mapping[str, Weight], told: Mapping[str, WeightReport], block: Block) -> None:
    """Say what a pass cost the matrices that it changed without a word of its own.

    What was ``told`` of a matrix before stays in front: ``sparsegpt, then gptq``. Errors are the last pass's own.
    """
    for name, old in before.items():
        new, first = block.weights[name], told.get(name)
        if new is not old and block.reports.get(name) is first:
            block.reports[name] = WeightReport.of(item.name, old.dequantize(), new.dequantize())
        last = block.reports.get(name)
        if first is not None and last is not None and last is not first:
            block.reports[name] = last.model_copy(update={"solver": f"{first.solver}, then {last.solver}"})


def _check_shapes(item: WeightPass, block: Block, stored: Block, expected: Shapes) -> None:
    """Hold a block against the shapes of its tensors by the names that they are stored by."""
    held = {**block.weights, **block.vectors}
    for name, written in zip(held, {**stored.weights, **stored.vectors}, strict=True):
        shape = tuple(held[name].shape)
        if shape != (wanted := expected.get(written, shape)):
            raise PassError(
                f"{item.name} left {name} as {list(shape)}, but by the variant's config {list(wanted)} is needed"
            )


def _check(item: WeightPass, before: Mapping[str, Weight], after: Mapping[str, Weight]) -> None:
    """The postconditions of every pass; a PassError names the pass, the weight and what it broke."""
    for name, old in before.items():
        new = after.get(name)
        if new is None:
            raise PassError(f"{item.name} lost {name}; this is a bug in the pass")
        if new is old:
            continue
        if new.nbytes() > old.nbytes():
            raise PassError(f"{item.name} made {name} larger: {new.nbytes()} bytes instead of {old.nbytes()}")
        if not is_finite(new):
            raise PassError(f"{item.name} left NaN or infinite values in {name}")
        if not keeps_zeros(old, new):
            raise PassError(f"{item.name} filled or forgot zeros of {name} that an earlier pass had promised to keep")
