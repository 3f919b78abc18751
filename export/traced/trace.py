"""Trace a model into a float graph: torch's exporter runs over transformers' own code, once for each group of layers.

Tracing takes time for every operator that it meets, and nearly all of a model is one layer again and again. So the
model is traced without its layers, each of which leaves one node behind; one layer of each kind is traced by itself;
and its graph is put in the place of every such node, with the names of that layer's weights.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache

import onnx_ir as ir
import torch
from onnx_ir.passes.common import CommonSubexpressionEliminationPass, RemoveUnusedNodesPass
from torch import nn
from transformers import PreTrainedModel

from compress.calibration.images import image_shape
from compress.calibration.load_state import init_buffers
from compress.errors import ExportError
from compress.export.lowering.float_graph import FloatGraph, GraphKey
from compress.export.traced.assemble import (
    inline_layer,
    name_dynamic_dims,
    number_positions,
    rename_weights,
    transpose_weight,
)
from compress.export.traced.attention import ProbeCache, ProbeDone, TracedCache, traced_attention
from compress.export.traced.experts import weigh_all_experts
from compress.export.traced.fuse import fuse_operators
from compress.export.traced.patterns import match_patterns
from compress.export.traced.rotary_tables import replace_by_tables
from compress.export.traced.torch_export import ExampleInput, trace_module
from compress.export.traced.wrappers import DOMAIN, LayerPlaceholder, LayerWrapper, ModelWrapper, TracedCall
from compress.modeling.architecture import Architecture, longest_input
from compress.modeling.families import is_decoder_type
from compress.modeling.modules import layer_list
from compress.modeling.quiet import first_line, quiet_transformers
from compress.modeling.transformers_private import forget_lengths

_BATCH, _NEW, _TOTAL = 2, 5, 12
"""Sizes of what is traced; no two alike, and none that torch takes for fixed (0 and 1)."""
_LAYER_INDEX = re.compile(r"(^|_)layer_?(idx|id|index|number)$")
"""Attributes of a module that hold its own place among the layers."""


def trace_graph(architecture: Architecture, names: Sequence[str], fused: bool, grouped: bool = True) -> FloatGraph:
    """Trace the float graph of an architecture whose checkpoint has tensors ``names``, like `built.build.build`.

    It is kept for the next export of the same model. Raises ExportError for a model that torch can't trace, or whose
    layers don't keep keys and values in transformers' cache.
    """
    model = _trace(GraphKey.of(architecture, names)).clone()
    if fused:
        fuse_operators(model, grouped)
    return FloatGraph(model, {})


@lru_cache(maxsize=8)
def _trace(key: GraphKey) -> ir.Model:
    with quiet_transformers():
        return _Tracer(key.architecture, key.names).model()


class _Tracer:
    """Traces one model: itself with placeholders for its layers, and a layer of each group that one graph serves."""

    def __init__(self, architecture: Architecture, names: Sequence[str]) -> None:
        self.architecture = architecture
        self.names = set(names)
        self.decoder = architecture.kind.is_decoder_only
        self.embeds = is_decoder_type(architecture.config.model_type) and not self.decoder
        self.module = architecture.meta_module().eval()
        forget_lengths(self.module)
        weigh_all_experts(self.module)
        self.path, self.layers = layer_list(self.module)
        self.calls: dict[int, TracedCall] = {}

    def model(self) -> ir.Model:
        """The graph of the model with its layers in it."""
        model = self.trace_outside()
        layers: dict[str, ir.Graph] = {}
        for node in [node for node in model.graph if node.domain == DOMAIN]:
            index = node.attributes["index"].as_int()
            group = self.group(index)
            if group not in layers:
                layers[group] = self.trace_layer(index)
            inline_layer(model.graph, node, layers[group], self.path, list(layers).index(group))
        self.name_weights(model.graph)
        model.opset_imports.pop(DOMAIN, None)
        CommonSubexpressionEliminationPass()(model)
        replace_by_tables(model.graph, longest_input(self.architecture.config))
        if self.embeds:
            number_positions(model.graph)
        RemoveUnusedNodesPass()(model)
        name_dynamic_dims(model.graph)
        return model

    def trace_outside(self) -> ir.Model:
        """The model's graph with a node for each layer."""
        parent, attribute = self.module.get_submodule(self.path.rpartition(".")[0]), self.path.rpartition(".")[2]
        outputs = self.architecture.dry_run.outputs.get(self.path, 0)
        placeholders = [LayerPlaceholder(layer, i, outputs, self.calls) for i, layer in enumerate(self.layers)]
        setattr(parent, attribute, nn.ModuleList(placeholders))
        _materialize(self.module, self.module)
        inputs = self.inputs()
        has_head = self.architecture.kind.has_head
        target, out = (self.module, "logits") if has_head else (self.module.base_model, "last_hidden_state")
        wrapper = ModelWrapper(target, list(inputs), self.decoder, out, self.embeds)
        description = f"a {self.architecture.class_name}"
        with traced_attention(self.module, None):
            model = trace_module(wrapper, list(inputs.values()), list(inputs), [out], description)
        inner = next(name for name, child in [("", self.module), *self.module.named_modules()] if child is target)
        rename_weights(model.graph, "inner.", f"{inner}." if inner else "", wrapper.state_dict())
        match_patterns(model)
        return model

    def inputs(self) -> dict[str, ExampleInput]:
        """The model's inputs by name: images of the one size that it takes, or tokens."""
        if self.architecture.kind.is_vision:
            shape = image_shape(self.architecture.config)
            return {"pixel_values": ExampleInput((_BATCH, *shape), (True, False, False, False))}
        lengths = {"input_ids": _NEW, "attention_mask": _TOTAL if self.decoder else _NEW}
        if self.decoder or self.embeds:
            lengths["position_ids"] = _NEW
        elif getattr(self.architecture.config, "type_vocab_size", 0) > 1:
            lengths["token_type_ids"] = _NEW
        return {name: ExampleInput((_BATCH, length), (True, True), torch.long) for name, length in lengths.items()}

    def group(self, index: int) -> str:
        """Equal for two layers that one graph serves: their modules, settings, shapes and calls are the same."""
        layer = self.layers[index]
        modules = [
            (name, type(child).__name__, {k: v for k, v in vars(child).items() if _is_setting(k, v)})
            for name, child in layer.named_modules()
        ]
        shapes = {name: tuple(tensor.shape) for name, tensor in layer.state_dict().items()}
        types = getattr(self.architecture.config, "layer_types", None)
        return repr((modules, shapes, types and types[index], self.calls[index].group))

    def trace_layer(self, index: int) -> ir.Graph:
        """One layer's graph: the tensors of its call and its cache in, its hidden states and cache out."""
        call = self.calls[index]
        inputs, outputs = list(call.inputs), ["hidden"]
        past = TracedCache(_TOTAL - _NEW) if self.decoder else None
        layer = LayerWrapper(self.layers[index], call, past)
        description = f"a layer of a {self.architecture.class_name}"
        with traced_attention(self.module, past):
            if past is not None:
                inputs += self.cache_inputs(index, description)
                outputs += ["present_key", "present_value"]
            _materialize(self.module, self.layers[index])
            model = trace_module(layer, inputs, [f"input.{i}" for i in range(len(inputs))], outputs, description)
        self.layers[index].to("meta")
        rename_weights(model.graph, "layer.", "", layer.state_dict())
        match_patterns(model)
        return model.graph

    def cache_inputs(self, index: int, description: str) -> list[ExampleInput]:
        """The keys and values so far that a layer takes, as a run without numbers shows them."""
        probe = ProbeCache(_TOTAL - _NEW)
        call = self.calls[index]
        try:
            with suppress(ProbeDone):
                LayerWrapper(self.layers[index], call, probe)([example.tensor("meta") for example in call.inputs])
        except Exception as error:  # caches of another kind, or a look at numbers
            raise ExportError(f"{description} can't be run without numbers ({first_line(error)})") from error
        if probe.probed is None:
            raise ExportError(f"{description} keeps no keys and values in transformers' cache")
        sizes = [(_BATCH, states.shape[1], _TOTAL - _NEW, states.shape[3]) for states in probe.probed]
        return [ExampleInput(size, (True, False, True, False)) for size in sizes]

    def name_weights(self, graph: ir.Graph) -> None:
        """Name weights as the checkpoint does: tied ones are one, and those stored ``[in, out]`` get a Transpose."""
        tied = self.module.all_tied_weights_keys
        for name, value in list(graph.initializers.items()):
            if value.const_value is not None or not value.uses():
                continue
            source = name if name in self.names else tied.get(name, name)
            if source not in self.names:
                raise ExportError(f"the traced graph's weight {name!r} isn't among the checkpoint's tensors")
            if source == name:
                if name in self.architecture.outline.transposed_weights:
                    transpose_weight(graph, value)
                continue
            del graph.initializers[name]
            if source in graph.initializers:
                value.replace_all_uses_with(graph.initializers[source])
            else:
                value.name = source
                graph.initializers.add(value)


def _is_setting(name: str, value: object) -> bool:
    plain = value is None or isinstance(value, bool | int | float | str)
    return plain and not name.startswith("_") and _LAYER_INDEX.search(name) is None


def _materialize(module: PreTrainedModel, part: nn.Module) -> None:
    """Bring a part of a module off the meta device: what it computes for itself, and weights without numbers.

    These take no memory: nobody ever reads them.
    """
    init_buffers(module, part)
    for child in part.modules():
        for name, buffer in list(child.named_buffers(recurse=False)):
            if buffer.is_floating_point() and name not in child._non_persistent_buffers_set:  # a weight like any other
                delattr(child, name)
                setattr(child, name, nn.Parameter(buffer, requires_grad=False))
        for name, tensor in list(child.named_parameters(recurse=False)):
            empty = torch.empty(tensor.shape, dtype=tensor.dtype)
            setattr(child, name, nn.Parameter(empty, requires_grad=False))
