"""Choose the source of an export's graph: *built* where that is known and right, else *traced*."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import transformers
from transformers import PretrainedConfig

from compress.checkpoint.base import Checkpoint
from compress.errors import ExportError
from compress.export.built import config_fixes
from compress.export.lowering.float_graph import FloatGraph, GraphSource
from compress.export.parity.compare import DiffersError
from compress.modeling.families import family_of, is_decoder_type, runs_layer_by_layer
from compress.modeling.modules import text_config
from compress.modeling.transformers_private import supports_attention_backend
from compress.progress import Progress

T = TypeVar("T")


def unsupported_reason(config: PretrainedConfig) -> str | None:
    """Name what of a model no graph is known of, neither built nor traced; None where there is one."""
    if text_config(config) is not config:
        return f"{config.model_type} models, which have more than a text model"
    return config_fixes.unsupported_reason(config) if untraceable_reason(config) else None


def untraceable_reason(config: PretrainedConfig) -> str | None:
    """Say why a model can't be traced; None where it can, and of a family that is unknown here (`predict` asks)."""
    family = family_of(config.model_type)
    if family is None:
        return None
    if family.kind.is_seq2seq:
        return "it is two graphs"
    if getattr(config, "add_cross_attention", False) and family.kind.is_decoder_only:
        return "its layers attend to an encoder's states as well"
    if not runs_layer_by_layer(config.model_type):
        return "its layers read more than what they are called with"
    if family.kind.is_decoder_only and not supports_attention_backend(getattr(transformers, family.cls)):
        return "its attention isn't transformers' common one"
    return None


def _reads_alone(checkpoint: Checkpoint) -> bool:
    """Whether a model of a decoder's type writes no text, of which graphs are only known with a head and a cache."""
    return not checkpoint.kind.is_decoder_only and is_decoder_type(checkpoint.config.model_type)


def export_with_fallback(
    checkpoint: Checkpoint,
    source: GraphSource | None,
    fused: bool,
    grouped: bool,
    write: Callable[[FloatGraph], T],
    progress: Progress,
) -> T:
    """Export a checkpoint's graph by ``write``, which verifies it against torch; returns what ``write`` does.

    Where nobody chose the ``source``, a graph that can't be built, or that ``write`` finds to differ, is traced
    instead, and the user told. ``fused``, ``grouped``: as in `build`. Raises ExportError for a model that has neither.
    """
    from compress.export.built.build import build  # here: mobius takes seconds to load, and few commands need it

    reason = untraceable_reason(checkpoint.config)
    if _reads_alone(checkpoint) and (reason or source == "built"):
        raise ExportError(
            f"no graph of a {checkpoint.class_name} can be built that writes no text"
            + (f", nor traced: {reason}" if reason else "; leave --graph out, and it is traced")
        )
    if source == "built" or (source == "auto" and reason):
        return write(build(checkpoint.config, checkpoint.names, fused, grouped))
    if reason:
        raise ExportError(f"no {checkpoint.config.model_type} model can be traced: {reason}; leave --graph out")
    if source == "auto" and not checkpoint.kind.is_vision and not _reads_alone(checkpoint):
        try:
            built = build(checkpoint.config, checkpoint.names, fused, grouped)
        except ExportError as error:
            reason = str(error).partition(";")[0]
        else:
            try:
                return write(built)
            except DiffersError as error:
                reason = str(error).partition(";")[0]
        progress.notice(f"{reason}: the model is traced instead")
    from compress.export.traced.trace import trace_graph  # here: torch's exporter takes a second to load

    return write(trace_graph(checkpoint.architecture, checkpoint.names, fused, grouped))
