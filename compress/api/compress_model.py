"""Compress a model for a target: the function `compress_model`, and the checks before any weight is read."""

from __future__ import annotations

from pathlib import Path

from compress.api.target_set import TargetSet
from compress.calibration.data import Calibration
from compress.calibration.inputs import CalibrationInputs
from compress.calibration.statistics import Statistic
from compress.checkpoint.model import Model
from compress.checkpoint.variant import Variant
from compress.checkpoint.writing.writer import SHARD_BYTES, WriteOptions
from compress.errors import UsageError
from compress.pipeline.parse import Pipeline
from compress.pipeline.predict import ConfigOnlyModel, predict
from compress.pipeline.resolve import ResolvedPipeline, notices, resolve
from compress.pipeline.run import run_pipeline
from compress.pipeline.steps import plan_steps
from compress.progress import Progress, Silent
from compress.system.staging import check_replaceable, staged


def compress_model(
    model: Model,
    pipeline: Pipeline | str,
    out: str | Path,
    *,
    target: str = "ort-cpu",
    calibration: str | Path | Calibration | None = None,
    samples: int | None = None,
    length: int | None = None,
    seed: int = 0,
    checkpoint_format: str | None = None,
    max_shard_bytes: int = SHARD_BYTES,
    merge: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Variant:
    """Compress a model and write the variant into the directory ``out``, which appears complete or not at all.

    ``pipeline``: passes in order, such as ``"int8,fuse"``. Its graph passes act when the variant is exported.
    ``target``: the runtime that the variant is for, or several (``"ort-cpu,gguf"``); what one of them can't hold is
    refused before the work.
    ``calibration``: a file or folder of texts or ``hf://datasets/…`` (`open_source`), a folder of images or an
    ``.npy`` array of pixels, or the data itself; None lets the model write its own text, or generates images.
    ``samples`` windows (or images) of ``length`` tokens are read of a file or generated: None takes as many as the
    passes need, or a short text has.
    ``checkpoint_format``: for the target hf, ``compressed-tensors``, ``gptq`` or ``awq``. ``max_shard_bytes``: the
    largest size of a checkpoint file. ``merge`` stores low-rank products multiplied out. ``overwrite`` replaces ``out``
    where it exists. ``progress`` is told of long work; None is silent.

    Raises UsageError for a pipeline, a file or a directory that can't be used, PassError where a pass fails. The same
    arguments and seed give the same bytes.
    """
    progress, path = progress or Silent(), Path(out)
    passes = Pipeline.parse(pipeline) if isinstance(pipeline, str) else pipeline
    runtime = TargetSet.parse(target, checkpoint_format)
    runtime.check(passes.passes, merge)
    check_replaceable(path, overwrite, model.path)
    resolved = resolve_for_targets(model, passes, runtime, merge)
    for line in notices(model, [resolved], runtime.capability):
        progress.notice(line)
    data = calibration if isinstance(calibration, Calibration) else None
    file = calibration if isinstance(calibration, str | Path) else None
    solving = resolved.required_statistic() >= Statistic.GRAM
    inputs = CalibrationInputs(model, file, samples, length, seed, solving, progress)
    inputs.check()
    options = WriteOptions(runtime.format, max_shard_bytes, merge)
    with staged(path, overwrite, source=model.path) as stage:
        run_pipeline(model, resolved, runtime.capability, stage, lambda: data or inputs.data, seed, progress, options)
    return Variant.open(path, verify=False)


def resolve_for_targets(model: Model, pipeline: Pipeline, targets: TargetSet, merge: bool = False) -> ResolvedPipeline:
    """The pipeline with every option decided for a model and the targets that its variant is for.

    With ``merge`` products are multiplied out before a target sees them. Raises UsageError where a pass can't work on
    the model, or would leave matrices that one of the targets can't hold.
    """
    resolved = resolve(model, pipeline, targets.capability)
    try:
        weights = predict(ConfigOnlyModel(model.architecture), resolved, targets.capability).weights
    except UsageError as error:
        if not targets.restricted:
            return resolved
        raise UsageError(
            f"{targets.name} (format {targets.format.name}) must know in advance how every matrix will be stored; "
            f"{error}, or build the variant with --target hf without --format and export it afterwards"
        ) from None
    stored = {name: form.merged for name, form in weights.items()} if merge else weights
    _, architecture = plan_steps(model.architecture, resolved.weight_passes)
    targets.check_weights(architecture, stored)
    return resolved
