"""Where lowering puts what it makes: new nodes in front of the one they replace, tensors in the sidecar."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import onnx_ir as ir
import torch
from torch import Tensor

from compress.export.lowering.external_data import ExternalData

Attributes = Mapping[str, int | float | str | Sequence[int]]


class Emitter:
    """Writes into one graph and its sidecar; each tensor is written once, however often it is asked for.

    ``dtype``: what the graph is computed in.
    """

    def __init__(self, graph: ir.Graph, sidecar: ExternalData, dtype: torch.dtype = torch.float32) -> None:
        self.graph = graph
        self.dtype = dtype
        self._sidecar = sidecar
        self._stored = sidecar.stored
        self._nodes: list[ir.Node] = []
        self._names = {value.name for node in graph for value in node.outputs} | set(graph.initializers)

    def node(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        name: str,
        attributes: Attributes | None = None,
        domain: str = "",
    ) -> ir.Value:
        """A new node of one output, named after what it computes."""
        out = ir.Value(name=self._unique(name))
        attrs = ir.convenience.convert_attributes(dict(attributes or {}))
        self._nodes.append(ir.Node(domain, op_type, inputs, attrs, outputs=[out], name=out.name))
        return out

    def initializer(self, name: str, make: Callable[[], Tensor], shape: tuple[int, ...] | None = None) -> ir.Value:
        """The initializer of that name and shape, made and written on first use; other shapes share its bytes."""
        if name not in self._stored:
            self._stored[name] = self._sidecar.write(name, make())
        stored = self._stored[name]
        if shape is None or shape == tuple(stored.shape):
            alias, tensor = name, stored
        else:
            alias = f"{name}.{'x'.join(map(str, shape))}"
            tensor = self._sidecar.alias(alias, stored, shape)
        known = self.graph.initializers.get(alias)
        if known is not None and known.const_value is tensor:
            return known
        value = ir.Value(name=alias, type=ir.TensorType(tensor.dtype), shape=ir.Shape(tensor.shape), const_value=tensor)
        if known is not None:
            ir.convenience.replace_all_uses_with(known, value)
            del self.graph.initializers[alias]
        self.graph.initializers.add(value)
        return value

    def nibbles(self, name: str, make: Callable[[], Tensor], shape: tuple[int, ...]) -> ir.Value:
        """The initializer of that name: 4-bit integers of that shape, of which ``make`` gives two in a byte."""
        if name not in self._stored:
            self._stored[name] = self._sidecar.write(name, make(), ir.DataType.INT4, shape)
        return self.initializer(name, make)

    def constant(self, name: str, value: Tensor) -> ir.Value:
        """A small constant, kept in the graph where shape inference sees it."""
        if name not in self.graph.initializers:
            array = value.numpy()
            tensor = ir.tensor(array, name=name)
            known = ir.TensorType(tensor.dtype)
            self.graph.initializers.add(
                ir.Value(name=name, type=known, shape=ir.Shape(array.shape), const_value=tensor)
            )
        return self.graph.initializers[name]

    def replace(self, old: ir.Node, value: ir.Value) -> None:
        """Put the nodes made so far in front of ``old``, and ``value`` in the place of its one output."""
        nodes, self._nodes = self._nodes, []
        before = old.outputs[0]
        value.shape, value.type = before.shape, before.type
        name = before.name
        ir.convenience.replace_all_uses_with(before, value, replace_graph_outputs=True)
        self.graph.insert_before(old, nodes)
        self.graph.remove(old, safe=True)
        if value in self.graph.outputs:
            value.name = name

    def _unique(self, name: str) -> str:
        count, free = 0, name
        while free in self._names:
            count, free = count + 1, f"{name}.{count + 1}"
        self._names.add(free)
        return free
