"""Decide what a pipeline's options leave open, for a model and a target, before any weight is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from compress.checkpoint.base import ModelOutline
from compress.errors import UsageError
from compress.pipeline.contract import Pass, TargetCapability, WeightPass
from compress.pipeline.parse import Pipeline
from compress.weights.forms import Quantized, Residual

PassType = TypeVar("PassType", bound=Pass)


@dataclass(frozen=True)
class ResolvedPipeline(Pipeline):
    """A pipeline with every option decided for one model and one target; it prints with those options.

    ``written`` is the pipeline as its user wrote it.
    """

    written: Pipeline


def resolve(model: ModelOutline, pipeline: Pipeline, target: TargetCapability) -> ResolvedPipeline:
    """Decide every option of a pipeline; one that is resolved already is returned as it is.

    Each pass decides on the shapes that the ones before it leave. Raises UsageError where a pass can't work on them,
    or the target can't hold what it leaves.
    """
    if isinstance(pipeline, ResolvedPipeline):
        return pipeline
    resolved: list[Pass] = []
    drops_layers: Pass | None = None
    for pass_ in pipeline.passes:
        resolved.append(decided := resolve_for(pass_, model, target))
        if isinstance(decided, WeightPass):
            layers, model = model.config.num_hidden_layers, model.resized(decided.resize)
            if model.config.num_hidden_layers < layers:
                if drops_layers is not None:  # both would choose from, and number, the layers of the original
                    raise UsageError(f"{drops_layers} and {decided} both drop layers; let one of them drop them all")
                drops_layers = decided
    return ResolvedPipeline(tuple(resolved), pipeline)


def notices(model: ModelOutline, pipelines: Iterable[Pipeline], target: TargetCapability) -> list[str]:
    """What passes leave out of a model or target, a line each, every one once."""
    passes = [pass_ for pipeline in pipelines for pass_ in pipeline.passes]
    lines = [f"{pass_.name}: {line}" for pass_ in passes for line in pass_.notices(model, target)]
    return list(dict.fromkeys(lines))


def resolve_for(pass_: PassType, model: ModelOutline, target: TargetCapability) -> PassType:
    """Decide every option of a pass; a UsageError where pass, model and target don't go together."""
    if (unsupported := target.unsupported_reason(model.architecture.config)) is not None:
        raise UsageError(f"{target.name} cannot export {unsupported}; use --target hf")
    resolved = pass_.resolve(model, target)
    forms = resolved.output_forms() if isinstance(resolved, WeightPass) else ()
    if not target.any_linear and model.nonstandard_linear is not None and (Quantized in forms or Residual in forms):
        raise UsageError(
            f"{resolved.name}: the linears of a {model.config.model_type} are transformers' own "
            f"{model.nonstandard_linear}, of which compressed-tensors loads no integers; --target ort-cpu holds them"
        )
    return resolved
