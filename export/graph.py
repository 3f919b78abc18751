"""Graph source *built*: mobius declares the float graph, and every weight gets its checkpoint's own name.

The graph comes without weights: each is an initializer without a value, used through a Transpose (or a Concat and a
Transpose where several are packed), which is where the lowering steps in.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir
import torch
import transformers
from mobius import ArchitectureConfig, EpCapabilities, build_from_module, ep_registry, register_ep, registry
from onnxscript import nn
from torch import Tensor
from transformers import PretrainedConfig

from compress.errors import ExportError
from compress.export.mends import mend

_FUSED = "cpu"
_STANDARD = "standard"
_DISTILBERT_EPSILON = 1e-12

if _STANDARD not in ep_registry:
    register_ep(EpCapabilities(name=_STANDARD, supports_skip_layer_norm=False))


def build(config: PretrainedConfig, names: Sequence[str], fused: bool) -> ir.Model:
    """The float graph of an architecture; its weights are initializers without values, named as in ``names``.

    ``fused`` takes the operators that onnxruntime fused for its CPU (GroupQueryAttention with rotary and packed q/k/v,
    skip connections inside normalizations); otherwise every operator is a standard one. An architecture that mobius
    doesn't know, or a weight that can't be traced to one tensor of the checkpoint, is an ExportError.
    """
    if config.model_type not in registry:
        known = ", ".join(sorted(registry.architectures()))
        raise ExportError(f"no ONNX graph is known for model type {config.model_type!r}; known: {known}")
    module, arch = _declare(config)
    task = registry.get_task(config.model_type) or getattr(type(module), "default_task", "text-generation")
    logging.getLogger("mobius").setLevel(logging.ERROR)
    try:
        package = build_from_module(module, arch, task, execution_provider=_FUSED if fused else _STANDARD)
    except Exception as error:
        raise ExportError(f"mobius can't build a graph for {config.model_type!r}: {error}") from error
    if list(package) != ["model"]:
        raise ExportError(f"{config.model_type!r} takes several graphs ({', '.join(package)}); only one is supported")
    model: ir.Model = package["model"]
    _name_weights(model, module, _meta_tensors(config, names))
    mend(model, config)
    model.functions.clear()
    return model


def _declare(config: PretrainedConfig) -> tuple[nn.Module, ArchitectureConfig]:
    """mobius's module and configuration for a transformers configuration, in float32."""
    module_class = registry.get(config.model_type)
    config_class = registry.get_config_class(config.model_type)
    if config_class in (None, ArchitectureConfig):
        config_class = getattr(module_class, "config_class", ArchitectureConfig)
    corrections: dict[str, Any] = {"dtype": ir.DataType.FLOAT}
    if config.model_type == "distilbert":  # mobius reads neither its MLP's width nor its norms' epsilon
        corrections.update(intermediate_size=config.hidden_dim, rms_norm_eps=_DISTILBERT_EPSILON)
    arch = dataclasses.replace(config_class.from_transformers(config), **corrections)
    return module_class(arch), arch


def _meta_tensors(config: PretrainedConfig, names: Sequence[str]) -> dict[str, Tensor]:
    """The checkpoint's tensors without their numbers: shapes on torch's meta device, under the checkpoint's names."""
    module_class = getattr(transformers, (config.architectures or ["?"])[0], None)
    if module_class is None:
        raise ExportError(f"transformers has no {config.architectures}, so its weights' shapes aren't known")
    with torch.device("meta"):
        state = module_class(config).state_dict()
    wanted = set(names)
    return {name: tensor for name, tensor in state.items() if name in wanted}


def _name_weights(model: ir.Model, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give every initializer that stands for a weight the name of the checkpoint's tensor that belongs there.

    mobius renames tensors on their way in; which became which is told by the identity of the tensors sent through it.
    """
    origin = {id(tensor): name for name, tensor in tensors.items()}
    arrived = module.preprocess_weights(dict(tensors)) if hasattr(module, "preprocess_weights") else tensors
    qualified = {id(value): name for name, value in module.named_parameters()}
    graph = model.graph
    weights = {name: value for name, value in graph.initializers.items() if value.const_value is None}
    for name in weights:
        del graph.initializers[name]
    for name, value in weights.items():
        if not value.uses():
            continue
        tensor = arrived.get(name, arrived.get(qualified.get(id(value), "")))
        source = origin.get(id(tensor))
        if source is None or (value.shape is not None and tuple(value.shape) != tuple(tensors[source].shape)):
            raise ExportError(f"the graph's weight {name!r} can't be traced to one tensor of the checkpoint")
        if source in graph.initializers:
            ir.convenience.replace_all_uses_with(value, graph.initializers[source])
        else:
            value.name = source
            graph.initializers.add(value)
