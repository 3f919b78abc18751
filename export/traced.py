"""Graph source *traced*: torch's exporter runs over transformers' own code, once for each kind of layer.

Tracing takes time for every operator that it meets, and nearly all of a model is one layer again and again. So the
model is traced without its layers, each of which leaves one node behind; one layer of each kind is traced by itself;
and its graph is put in the place of every such node, with the names of that layer's weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import onnx_ir as ir
import torch
from onnx_ir.passes.common import CommonSubexpressionEliminationPass, RemoveUnusedNodesPass
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from transformers import PreTrainedModel

from compress.architecture import Architecture, quiet_transformers
from compress.errors import ExportError
from compress.export.attending import Past, Probe, Probed, traced_attention
from compress.export.graph import Built
from compress.export.grouped import fuse_operators
from compress.export.recognition import recognise
from compress.export.tracing import Input, trace
from compress.layout import layer_list
from compress.walk import compute_buffers

_DOMAIN = "compress"
_BATCH, _NEW, _TOTAL = 2, 5, 12
"""Sizes of what is traced; no two alike, and none that torch takes for fixed (0 and 1)."""
_OF_NO_ACCOUNT = ("dtype", "torch_dtype", "_name_or_path", "transformers_version", "architectures")
"""What a config says that makes no other graph."""
_PLACE = re.compile(r"(^|_)layer_?(idx|id|index|number)$")
"""What a module calls its own place among the layers."""


@dataclass
class _Call:
    """What a layer is called with: all arguments, flat, with their tensors as inputs to trace it with."""

    leaves: list[Any]
    spec: pytree.TreeSpec
    inputs: list[Input]

    @property
    def kind(self) -> str:
        """What is the same of two calls that the same graph does for."""
        settings = [None if isinstance(leaf, Tensor | Past) else leaf for leaf in self.leaves]
        return repr((settings, self.spec, self.inputs))


class _StandIn(nn.Module):
    """Takes a layer's place: notes what it is called with and leaves a node that is called the same."""

    def __init__(self, index: int, pairs: bool, calls: dict[int, _Call]) -> None:
        super().__init__()
        self.index = index
        self.pairs = pairs
        self.calls = calls

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        leaves, spec = pytree.tree_flatten((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        hidden = args[0] if args else kwargs["hidden_states"]
        self.calls[self.index] = _Call(leaves, spec, [Input.like(tensor) for tensor in tensors])
        out = torch.onnx.ops.symbolic(
            f"{_DOMAIN}::Layer", tensors, {"index": self.index}, dtype=hidden.dtype, shape=hidden.shape, version=1
        )
        return (out, None) if self.pairs else out


class _Shell(nn.Module):
    """A model as a graph calls it: ids, mask and positions in, one tensor out."""

    def __init__(self, inner: PreTrainedModel, names: Sequence[str], decoder: bool) -> None:
        super().__init__()
        self.inner = inner
        self.names = names
        self.decoder = decoder

    def forward(self, tensors: list[Tensor]) -> Tensor:
        given: dict[str, Any] = dict(zip(self.names, tensors, strict=True))
        if self.decoder:
            ids, mask = given["input_ids"], given["attention_mask"]
            past = Past(mask.shape[1] - ids.shape[1])
            logits: Tensor = self.inner(**given, past_key_values=past, use_cache=True).logits
            return logits
        hidden: Tensor = self.inner(**given).last_hidden_state
        return hidden


class _Layer(nn.Module):
    """A layer as a graph calls it: the tensors of its call, then keys and values so far; and back come all of them."""

    def __init__(self, layer: nn.Module, call: _Call, past: Past | None) -> None:
        super().__init__()
        self.layer = layer
        self.call = call
        self.past = past

    def forward(self, tensors: list[Tensor]) -> tuple[Tensor, ...]:
        given = iter(tensors[: len(self.call.inputs)])
        if self.past is not None:
            old = tensors[len(self.call.inputs) :]
            self.past.own, self.past.new = ((old[0], old[1]) if old else None), None
        leaves = [
            next(given) if isinstance(leaf, Tensor) else self.past if isinstance(leaf, Past) else leaf
            for leaf in self.call.leaves
        ]
        args, kwargs = pytree.tree_unflatten(leaves, self.call.spec)
        out = self.layer(*args, **kwargs)
        hidden = out[0] if isinstance(out, tuple) else out
        return (hidden, *(self.past.new or ())) if self.past is not None else (hidden,)


def trace_graph(built: Architecture, names: Sequence[str], fused: bool) -> Built:
    """The float graph of an architecture whose checkpoint has tensors ``names``, as `compress.export.graph.build` says.

    It is kept for the next export of the same model. Raises ExportError for a model that torch can't trace, or whose
    layers don't keep keys and values in transformers' cache.
    """
    config = {key: value for key, value in built.config.to_dict().items() if key not in _OF_NO_ACCOUNT}
    model = _traced(_Key(f"{built.cls.__name__} {config}", tuple(names), built)).clone()
    if fused:
        fuse_operators(model)
    return Built(model, {})


@dataclass(frozen=True)
class _Key:
    """A model, alike where its class, its config and its tensors are."""

    text: str
    names: tuple[str, ...]
    built: Architecture = field(compare=False)


@lru_cache(maxsize=4)
def _traced(key: _Key) -> ir.Model:
    with quiet_transformers():
        return _Tracer(key.built, key.names).model()


class _Tracer:
    """One model on its way."""

    def __init__(self, built: Architecture, names: Sequence[str]) -> None:
        self.built = built
        self.names = set(names)
        self.decoder = built.kind == "decoder"
        self.module = built.meta_module().eval()
        self.path, self.layers = layer_list(self.module)
        self.calls: dict[int, _Call] = {}

    def model(self) -> ir.Model:
        """The whole graph."""
        shell = self.shell()
        known: dict[str, ir.Graph] = {}
        nodes = [node for node in shell.graph if node.domain == _DOMAIN]
        for node in nodes:
            index = node.attributes["index"].as_int()
            kind = self.kind(index)
            if kind not in known:
                known[kind] = self.layer(index)
            self.place(shell.graph, node, known[kind], index, list(known).index(kind))
        self.name_weights(shell.graph)
        shell.opset_imports.pop(_DOMAIN, None)
        CommonSubexpressionEliminationPass()(shell)
        RemoveUnusedNodesPass()(shell)
        _say_sizes(shell.graph)
        return shell

    def shell(self) -> ir.Model:
        """The model's graph with a node for each layer."""
        parent, attribute = self.module.get_submodule(self.path.rpartition(".")[0]), self.path.rpartition(".")[2]
        pairs = self.pairs()
        setattr(parent, attribute, nn.ModuleList(_StandIn(i, pairs, self.calls) for i in range(len(self.layers))))
        _fill(self.module, self.module)
        counted = ["input_ids", "attention_mask", *self.further_inputs()]
        sizes = {"attention_mask": _TOTAL if self.decoder else _NEW}
        inputs = [Input((_BATCH, sizes.get(name, _NEW)), (True, True), torch.long) for name in counted]
        target = self.module if self.decoder else self.module.base_model
        shell = _Shell(target, counted, self.decoder)
        with traced_attention(self.module, None):
            out = "logits" if self.decoder else "last_hidden_state"
            model = trace(shell, inputs, counted, [out], f"a {self.built.cls.__name__}")
        inner = next(name for name, child in [("", self.module), *self.module.named_modules()] if child is target)
        _rename_weights(model.graph, "inner.", f"{inner}." if inner else "", shell.state_dict())
        recognise(model)
        return model

    def further_inputs(self) -> list[str]:
        """A decoder's positions; an encoder's kinds of tokens, where there are several."""
        if self.decoder:
            return ["position_ids"]
        return ["token_type_ids"] if getattr(self.built.config, "type_vocab_size", 0) > 1 else []

    def pairs(self) -> bool:
        """Whether layers return their hidden states as the first of a tuple."""
        from compress.families import FAMILIES

        return FAMILIES[self.built.config.model_type].pairs

    def kind(self, index: int) -> str:
        """What is the same of two layers that the same graph does for: modules, settings, shapes, their calls."""
        layer = self.layers[index]
        modules = [
            (name, type(child).__name__, {k: v for k, v in vars(child).items() if _is_setting(k, v)})
            for name, child in layer.named_modules()
        ]
        shapes = {name: tuple(tensor.shape) for name, tensor in layer.state_dict().items()}
        types = getattr(self.built.config, "layer_types", None)
        return repr((modules, shapes, types and types[index], self.calls[index].kind))

    def layer(self, index: int) -> ir.Graph:
        """One layer's graph: the tensors of its call and its cache in, its hidden states and cache out."""
        call = self.calls[index]
        inputs, outputs = list(call.inputs), ["hidden"]
        past = Past(_TOTAL - _NEW) if self.decoder else None
        layer = _Layer(self.layers[index], call, past)
        what = f"a layer of a {self.built.cls.__name__}"
        with traced_attention(self.module, past):
            if past is not None:
                inputs += self.cache(index, what)
                outputs += ["present_key", "present_value"]
            _fill(self.module, self.layers[index])
            model = trace(layer, inputs, [f"input.{i}" for i in range(len(inputs))], outputs, what)
        self.layers[index].to("meta")
        _rename_weights(model.graph, "layer.", "", layer.state_dict())
        recognise(model)
        return model.graph

    def cache(self, index: int, what: str) -> list[Input]:
        """The keys and values so far that a layer takes, as a run without numbers tells."""
        probe = Probe(_TOTAL - _NEW)
        call = self.calls[index]
        with suppress(Probed):
            _Layer(self.layers[index], call, probe)([each.tensor("meta") for each in call.inputs])
        if probe.given is None:
            raise ExportError(f"{what} keeps no keys and values in transformers' cache")
        sizes = [(_BATCH, each.shape[1], _TOTAL - _NEW, each.shape[3]) for each in probe.given]
        return [Input(each, (True, False, True, False)) for each in sizes]

    def place(self, graph: ir.Graph, node: ir.Node, layer: ir.Graph, index: int, kind: int) -> None:
        """Put a layer's graph where its node is."""
        copied = layer.clone()
        given: list[ir.Value | None] = list(node.inputs)
        if self.decoder:
            for what, value in zip(("key", "value"), list(copied.inputs)[-2:], strict=True):
                past = ir.Value(name=f"past_key_values.{index}.{what}", type=value.type, shape=value.shape)
                graph.inputs.append(past)
                given.append(past)
        for value, outer in zip(list(copied.inputs), given, strict=True):
            assert outer is not None
            value.replace_all_uses_with(outer)
        for name, value in list(copied.initializers.items()):
            del copied.initializers[name]
            value.name = f"{self.path}.{index}.{name}" if value.const_value is None else f"traced.{kind}.{name}"
            known = graph.initializers.get(value.name)
            if known is None:
                graph.initializers.add(value)
            else:
                value.replace_all_uses_with(known)
        outputs = list(copied.outputs)
        copied.outputs.clear()
        nodes = list(copied)
        copied.remove(nodes)
        for each in nodes:
            each.name = f"layer.{index}.{each.name}"
            for value in each.outputs:
                value.name = f"layer.{index}.{value.name}"
        graph.insert_before(node, nodes)
        before = node.outputs[0]
        if before.is_graph_output():
            outputs[0].name, before.name = before.name, None
        before.replace_all_uses_with(outputs[0], replace_graph_outputs=True)
        for what, value in zip(("key", "value"), outputs[1:], strict=False):
            value.name = f"present.{index}.{what}"
            graph.outputs.append(value)
        graph.remove(node, safe=True)

    def name_weights(self, graph: ir.Graph) -> None:
        """Hold weights against the checkpoint: tied ones are one, and those stored ``[in, out]`` are turned."""
        tied = self.module.all_tied_weights_keys
        for name, value in list(graph.initializers.items()):
            if value.const_value is not None or not value.uses():
                continue
            source = tied.get(name, name) if name not in self.names else name
            if source not in self.names:
                raise ExportError(f"the traced graph's weight {name!r} isn't among the checkpoint's tensors")
            if source != name:
                if source in graph.initializers:
                    value.replace_all_uses_with(graph.initializers[source])
                    del graph.initializers[name]
                else:
                    del graph.initializers[name]
                    value.name = source
                    graph.initializers.add(value)
            elif name in self.built.turned:
                _turn(graph, value)


def _turn(graph: ir.Graph, value: ir.Value) -> None:
    """Make of a weight ``[in, out]`` one of ``[out, in]`` with a Transpose behind it."""
    assert value.shape is not None
    uses = list(value.uses())
    first = min((node for node, _ in uses), key=list(graph).index)
    turned = ir.node("Transpose", [value], {"perm": [1, 0]})
    turned.outputs[0].shape, turned.outputs[0].type = value.shape, value.type
    value.shape = ir.Shape(list(value.shape)[::-1])
    graph.insert_before(first, turned)
    for node, index in uses:
        node.replace_input_with(index, turned.outputs[0])


def _is_setting(name: str, value: object) -> bool:
    plain = value is None or isinstance(value, bool | int | float | str)
    return plain and not name.startswith("_") and _PLACE.search(name) is None


def _fill(module: PreTrainedModel, part: nn.Module) -> None:
    """Bring a part of a module off the meta device: what it computes for itself, and weights without numbers.

    These take no memory: nobody ever reads them.
    """
    compute_buffers(module, part)
    for child in part.modules():
        for name, tensor in list(child.named_parameters(recurse=False)):
            empty = torch.empty(tensor.shape, dtype=tensor.dtype)
            setattr(child, name, nn.Parameter(empty, requires_grad=False))


def _rename_weights(graph: ir.Graph, old: str, new: str, weights: Mapping[str, Tensor]) -> None:
    """Give initializers that stand for weights their names in the model."""
    for name, value in list(graph.initializers.items()):
        if name in weights:
            del graph.initializers[name]
            value.name = new + name.removeprefix(old)
            graph.initializers.add(value)


def _say_sizes(graph: ir.Graph) -> None:
    """Name the sizes that vary as a built graph does; of values in between, those aren't known any more."""
    names = {"attention_mask": "past_seq_len + seq_len"}
    for value in graph.inputs:
        assert value.name is not None and value.shape is not None
        length = "past_sequence_len" if value.name.startswith("past_") else names.get(value.name, "sequence_len")
        value.shape = _named(value.shape, length)
    for value in graph.outputs:
        assert value.name is not None
        if value.shape is not None:
            cached = value.name.startswith("present.")
            value.shape = _named(value.shape, "past_sequence_len + sequence_len" if cached else "sequence_len")
    ends = {id(value) for value in [*graph.inputs, *graph.outputs]}
    for node in graph:
        for value in node.outputs:
            if id(value) not in ends and value.shape is not None and not value.shape.is_static():
                value.shape = ir.Shape([size if isinstance(size, int) else None for size in value.shape])


def _named(shape: ir.Shape, length: str) -> ir.Shape:
    sizes: list[int | str] = [size if isinstance(size, int) else length for size in shape]
    return ir.Shape(["batch", *sizes[1:]])
