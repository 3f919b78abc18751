"""Build a model's float graph with mobius, and give every weight its checkpoint's own name.

The graph comes without weights: each is an initializer without a value, used through a Transpose (or a Concat and a
Transpose where several are packed), which is where the lowering steps in.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import torch
import transformers
from mobius import ArchitectureConfig, EpCapabilities, build_from_module, ep_registry, register_ep, registry
from onnxscript import nn
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from compress.errors import ExportError
from compress.export.built.classifier_head import append_head
from compress.export.built.config_fixes import fix_config, mobius_name, unsupported_reason
from compress.export.built.graph_fixes import fix_graph
from compress.export.built.weight_rows import trace_rows
from compress.export.lowering.float_graph import FloatGraph, WeightRows
from compress.graph.builder import GraphBuilder
from compress.graph.grouped_attention import group_attention
from compress.modeling.architecture import Architecture
from compress.modeling.families import family_of
from compress.modeling.quiet import first_line
from compress.modeling.rotations import ungrouped_reason, unrotated_reason
from compress.modeling.transformers_private import rotary_module

_FUSED, _SEPARATE = "cpu", "default"
"""mobius's providers with fused operators: all of them, or all but attention."""
_STANDARD = "standard"
_ABSENT = (".bias", "token_type_embeddings.weight")

if _STANDARD not in ep_registry:
    register_ep(EpCapabilities(name=_STANDARD, supports_skip_layer_norm=False))


def build(config: PretrainedConfig, names: Sequence[str], fused: bool, grouped: bool = True) -> FloatGraph:
    """Build the float graph of an architecture whose checkpoint has tensors ``names``.

    ``fused`` takes the operators that onnxruntime fused for its CPU (GroupQueryAttention with rotary and packed q/k/v,
    skip connections inside normalizations), but for attention where that isn't to be ``grouped``, or rotary where the
    operator can't; otherwise every operator is a standard one, but for Gemma 2's attention where that may be
    ``grouped``. A model that no graph is known of, or a weight that isn't rows of one tensor of the checkpoint, is an
    ExportError.
    """
    family = family_of(config.model_type)
    declared = config.model_type in registry and family is not None and not family.kind.is_vision
    unsupported = unsupported_reason(config) if declared else f"{config.model_type} models"
    if unsupported is not None:
        raise ExportError(f"cannot build an ONNX graph of {unsupported}; use --target hf")
    logging.getLogger("mobius").setLevel(logging.ERROR)
    # Gemma 2: standard attention caps scores after masking them, which lets what is masked through again.
    groups = grouped and (fused or config.model_type == "gemma2")
    by_itself = (ungrouped_reason(config) or unrotated_reason(config)) is None
    provider = _FUSED if groups and by_itself else _SEPARATE if fused else _STANDARD
    try:
        module, arch = _declare(config)
        task = registry.get_task(config.model_type) or getattr(type(module), "default_task", "text-generation")
        package = build_from_module(module, arch, task, execution_provider=provider)
    except Exception as error:  # it checks settings by assertions, too
        raise ExportError(f"mobius can't build a graph for {config.model_type!r}: {first_line(error)}") from error
    if list(package) != ["model"]:
        raise ExportError(f"{config.model_type!r} takes several graphs ({', '.join(package)}); only one is supported")
    model: ir.Model = package["model"]
    origin = _name_weights(model, module, config, names)
    try:
        fix_graph(model, config, rotary_module(_transformers_class(config), config))
    except (StopIteration, AttributeError, LookupError) as error:
        raise ExportError(f"mobius's graph of {config.model_type!r} isn't laid out as those known here") from error
    if groups and not by_itself:
        group_attention(model.graph, "grouped")
    append_head(model, config)
    model.functions.clear()
    return FloatGraph(model, origin)


def _declare(config: PretrainedConfig) -> tuple[nn.Module, ArchitectureConfig]:
    """mobius's module and configuration for a transformers configuration, in float32."""
    module_class = registry.get(config.model_type)
    config_class = registry.get_config_class(config.model_type)
    if config_class in (None, ArchitectureConfig):
        config_class = getattr(module_class, "config_class", ArchitectureConfig)
    corrected = {"dtype": ir.DataType.FLOAT, **fix_config(config)}
    arch = dataclasses.replace(config_class.from_transformers(config), **corrected)
    return module_class(arch), arch


def _name_weights(model: ir.Model, module: nn.Module, config: PretrainedConfig, names: Sequence[str]) -> WeightRows:
    """Give every initializer that stands for a weight the name of the checkpoint's tensor that belongs there.

    mobius renames and cuts up tensors on their way in; where what comes out is from is returned by the graph's names.
    """
    tensors, transposed = _meta_tensors(config, names)
    preprocess = getattr(module, "preprocess_weights", dict)
    try:
        sources = trace_rows(
            tensors, transposed, lambda probes: preprocess({mobius_name(config, n): t for n, t in probes.items()})
        )
    except Exception as error:  # it looks for names that other checkpoints of the family have
        raise ExportError(f"mobius can't read {config.model_type} weights: {first_line(error)}") from error
    qualified = {id(value): name for name, value in module.named_parameters()}
    graph, rows_of = model.graph, {}
    weights = {name: value for name, value in graph.initializers.items() if value.const_value is None}
    for name in weights:
        del graph.initializers[name]
    for name, value in weights.items():
        if not value.uses():
            continue
        rows = sources.get(name) or sources.get(qualified.get(id(value), ""))
        if rows is None:
            _leave_out(graph, name, value)
            continue
        new_name = rows.tensor if rows.indices is None else f"{name}@{rows.tensor}"
        if new_name in graph.initializers:
            ir.convenience.replace_all_uses_with(value, graph.initializers[new_name])
        else:
            value.name = new_name
            graph.initializers.add(value)
            rows_of[new_name] = rows
    return rows_of


def _leave_out(graph: ir.Graph, name: str, value: ir.Value) -> None:
    """Zeros for a bias or a kind of token that the checkpoint doesn't have; an ExportError for any other weight."""
    if not name.endswith(_ABSENT) or value.shape is None or not value.shape.is_static():
        raise ExportError(f"the graph's weight {name!r} can't be traced to rows of one tensor of the checkpoint")
    value.replace_all_uses_with(GraphBuilder(graph).constant(np.zeros(value.shape.numpy(), np.float32), name))


def _meta_tensors(config: PretrainedConfig, names: Sequence[str]) -> tuple[dict[str, Tensor], frozenset[str]]:
    """The checkpoint's tensors without their numbers: shapes on torch's meta device, under the checkpoint's names.

    With the names of those that are stored ``[in, out]``.
    """
    family = family_of(config.model_type)
    assert family is not None, "a graph is built of known ones alone"
    outline = Architecture(_transformers_class(config), config, family.kind, {}).outline
    in_checkpoint = frozenset(names)
    shapes = {name: outline.stored_shape(name) for name in outline.shapes if name in in_checkpoint}
    tensors = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    return tensors, outline.transposed_weights


def _transformers_class(config: PretrainedConfig) -> type[PreTrainedModel]:
    """The class that a config names; an ExportError where transformers has none of that name."""
    named: type[PreTrainedModel] | None = getattr(transformers, (config.architectures or ["?"])[0], None)
    if named is None:
        raise ExportError(f"transformers has no {config.architectures}, so its weights' shapes aren't known")
    return named
