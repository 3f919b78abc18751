"""Lower every weight of a float graph in one walk, each read once, used, and dropped."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import onnx_ir as ir
import torch
from onnx_ir.passes.common import RemoveUnusedNodesPass

from compress.export.lowering import onnxruntime as lowering
from compress.export.lowering.decompose import FLOAT32_SUFFIX
from compress.export.lowering.emitter import Emitter
from compress.export.lowering.external_data import ExternalData
from compress.export.lowering.packed import bypass_split, stack_weights, stacked_name
from compress.export.lowering.pivoted import pivoted
from compress.export.lowering.weights import Weights
from compress.graph.builder import required
from compress.onnx_names import CONTRIB_DOMAIN
from compress.progress import Progress
from compress.weights.forms import Factored, Pivoted, Residual, Weight, leaves, mask_of

_INLINE = 1024  # bytes; smaller constants stay in the graph, where shape inference sees them


Rounding = Literal["never", "prepacked", "always"]


class Nodes(Protocol):
    """A runtime's nodes for each weight form: the module `compress.export.lowering.onnxruntime`, or another like it."""

    def linear(
        self, emit: Emitter, name: str, weight: Weight, x: ir.Value, bias: ir.Value | None, shared: bool
    ) -> ir.Value:
        """Multiply ``x @ weight.T + bias``; ``shared`` says that the weight is the embedding too."""

    def embedding(self, emit: Emitter, name: str, weight: Weight, ids: ir.Value) -> ir.Value:
        """Look up rows of an embedding table."""


@dataclass(frozen=True)
class Lowered:
    """Sizes of a lowered graph: the bytes of its weights, and what decoding one token reads of them in memory.

    There, floats that are stored in 16 bits have the graph's type. Constants that are no weights, such as tables of
    positions, count as neither.

    ``rounding`` says when operators round their inputs to 8 bits: never, only on weights that the runtime packed, or
    always. ``zeros`` and ``products`` as in `Artifact`.
    """

    stored_bytes: int
    read_bytes: int
    rounding: Rounding
    zeros: bool
    products: bool


def lower(
    model: ir.Model,
    weights: Weights,
    sidecar: ExternalData,
    progress: Progress,
    nodes: Nodes = lowering,
    dtype: torch.dtype = torch.float32,
) -> Lowered:
    """Replace every weight of a float graph by ``nodes`` and tensors for the form that ``weights`` has it in.

    The graph is to be computed in ``dtype``, which vectors, large constants and scales are stored in.
    """
    RemoveUnusedNodesPass()(model)
    walk = _Walk(model.graph, weights, sidecar, nodes, dtype)
    for node in progress.track(list(model.graph), "writing the graph", unit="node"):
        walk.visit(node)
    RemoveUnusedNodesPass()(model)
    walk.finish()
    RemoveUnusedNodesPass()(model)
    if any(node.domain == CONTRIB_DOMAIN for node in model.graph):
        model.opset_imports[CONTRIB_DOMAIN] = 1
    tables = sum(walk.tables[name] for name in walk.gathered - walk.multiplied)
    operators = {node.op_type for node in model.graph}
    rounding: Rounding = "never"
    if "MatMulNBits" in operators:
        rounding = "prepacked"
    if "DynamicQuantizeMatMul" in operators:
        rounding = "always"
    return Lowered(
        stored_bytes=sidecar.written - sidecar.constants,
        read_bytes=sidecar.written + walk.emit.widened - sidecar.constants - tables,
        rounding=rounding,
        zeros=walk.zeros,
        products=walk.products,
    )


class _Walk:
    """Lowering of one graph, node by node."""

    def __init__(
        self, graph: ir.Graph, weights: Weights, sidecar: ExternalData, nodes: Nodes, dtype: torch.dtype
    ) -> None:
        self.graph = graph
        self.nodes = nodes
        self.weights = weights
        self.sidecar = sidecar
        self.emit = Emitter(graph, sidecar, dtype)
        self.open = {name for name, value in graph.initializers.items() if value.const_value is None}
        self.gathered = {
            name for node in graph if node.op_type == "Gather" for name in [self.weight_name(node.inputs[0])] if name
        }
        self.multiplied: set[str] = set()
        self.tables: dict[str, int] = {}
        self.zeros = self.products = False

    def weight_name(self, value: ir.Value | None) -> str | None:
        """The checkpoint's name for a value that stands for one of its tensors."""
        return value.name if value is not None and value.is_initializer() and value.name in self.open else None

    def visit(self, node: ir.Node) -> None:
        """Lower a node that looks rows up in a weight or multiplies with one."""
        if node.op_type == "Gather" and (name := self.weight_name(node.inputs[0])):
            before = self.sidecar.written + self.emit.widened
            rows = self.nodes.embedding(self.emit, name, self.read(name), required(node.inputs[1]))
            self.tables[name] = self.sidecar.written + self.emit.widened - before
            self.emit.replace(node, rows)
        elif node.op_type == "MatMul" and (names := self.factors(node.inputs[1])):
            self.multiplied.update(names)
            self.multiply(node, names)

    def factors(self, value: ir.Value | None) -> tuple[str, ...]:
        """The weights, stacked along the outputs, that a transposed value stands for; none if it is something else."""
        transpose = value.producer() if value is not None else None
        if transpose is None or transpose.op_type != "Transpose" or transpose.inputs[0] is None:
            return ()
        return self.stacked(transpose.inputs[0])

    def stacked(self, value: ir.Value) -> tuple[str, ...]:
        """The checkpoint's tensors that a value is, or is a Concat of along its first axis."""
        if name := self.weight_name(value):
            return (name,)
        concat = value.producer()
        if concat is None or concat.op_type != "Concat" or concat.attributes.get_int("axis") != 0:
            return ()
        names = [self.weight_name(part) for part in concat.inputs]
        return tuple(name for name in names if name) if all(names) else ()

    def multiply(self, node: ir.Node, names: tuple[str, ...]) -> None:
        """Lower ``x @ stack(names).T`` together with a bias that is added to it."""
        last, biases = self.bias(node, len(names))
        x = required(node.inputs[0])
        forms = [self.read(name) for name in names]
        products = [form for form in forms if isinstance(form, Pivoted)]
        if len(products) == len(forms):
            bias = self.vector(biases) if biases else None
            self.emit.replace(last, pivoted(self.nodes.linear, self.emit, names, products, x, bias))
            return
        joined = stack_weights(forms)
        if joined is not None:
            bias = self.vector(biases) if biases else None
            shared = len(names) == 1 and names[0] in self.gathered
            self.emit.replace(last, self.nodes.linear(self.emit, stacked_name(names), joined, x, bias, shared))
            return
        parts = []
        for i, (name, form) in enumerate(zip(names, forms, strict=True)):
            bias = self.vector((biases[i],)) if biases else None
            parts.append(self.nodes.linear(self.emit, name, form, x, bias, False))
        joined_output = self.emit.op("Concat", *parts, name=f"{stacked_name(names)}.out", axis=-1)
        self.emit.replace(last, joined_output)
        bypass_split(joined_output, parts, [form.shape[0] for form in forms])

    def bias(self, node: ir.Node, count: int) -> tuple[ir.Node, tuple[str, ...]]:
        """The Add behind a product of ``count`` weights and the vectors that it adds, one a weight; else itself, ()."""
        uses = tuple(node.outputs[0].uses())
        if len(uses) != 1 or node.outputs[0].is_graph_output():
            return node, ()
        (add, index) = uses[0]
        other = add.inputs[1 - index] if add.op_type == "Add" else None
        names = self.stacked(other) if other is not None else ()
        if len(names) != count or other is None or (other.shape is not None and len(other.shape) != 1):
            return node, ()
        return add, names

    def vector(self, names: tuple[str, ...]) -> ir.Value:
        """One initializer for tensors laid end to end; in the type that the graph is computed in."""
        tensors = [self.weights.tensor(name) for name in names]
        if len(tensors) == 1:  # which may be a number by itself
            return self.emit.initializer(stacked_name(names), lambda: tensors[0].to(self.emit.dtype))
        return self.emit.initializer(stacked_name(names), lambda: torch.cat(tensors).to(self.emit.dtype))

    def read(self, name: str) -> Weight:
        """A matrix in its form."""
        weight = self.weights.weight(name)
        self.zeros |= any(mask_of(leaf) is not None for leaf in leaves(weight))
        self.products |= isinstance(weight, Factored | Residual)
        return weight

    def finish(self) -> None:
        """Store what is neither multiplied nor looked up in: vectors, and constants too large to stay in the graph."""
        for node in self.graph:
            if node.op_type == "Concat" and (names := self.stacked(node.outputs[0])) and node.outputs[0].uses():
                ir.convenience.replace_all_uses_with(node.outputs[0], self.vector(names))
        for name, value in list(self.graph.initializers.items()):
            if not value.uses():
                continue
            if value.const_value is None:
                self.vector((name,))
            elif value.const_value.nbytes > _INLINE and not isinstance(value.const_value, ir.ExternalTensor):
                constant = torch.from_numpy(value.const_value.numpy().copy())
                inexact = constant.is_floating_point() and not name.endswith(FLOAT32_SUFFIX)
                dtype = self.emit.dtype if inexact else constant.dtype
                before = self.sidecar.written
                self.emit.initializer(name, partial(constant.to, dtype))
                self.sidecar.constants += self.sidecar.written - before
