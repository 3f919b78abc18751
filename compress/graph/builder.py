"""Add nodes and constants to an ONNX graph, and put them in the place of others.

Two ways of rewriting are used here. Hand-written walks, with this builder, where a match hangs on what no pattern says:
shapes, who else reads a value, weights that have no numbers yet, or names that have to stay. Rewrite rules of
onnxscript, where a library brings them and the pattern alone decides (`compress.export.traced.fuse`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

Attribute = int | float | str | Sequence[int]
T = TypeVar("T")


def required(value: T | None) -> T:
    """Return an optional of onnx_ir that is always there; a ValueError, which is a bug, if it isn't."""
    if value is None:
        raise ValueError("a graph lacks a value, shape or name that it always has here")
    return value


def set_dtype(value: ir.Value, dtype: ir.DataType) -> None:
    """Set a value's type. Setting ``value.dtype`` would change the type of all that share it: a graph's clones."""
    value.type = ir.TensorType(dtype)


class GraphBuilder:
    """New nodes of ``graph``, which wait until `insert_before`, `replace` or `append` places them, and its constants.

    Constants that get no name are named after ``prefix`` and what they hold, so that equal ones are one.
    """

    def __init__(self, graph: ir.Graph, prefix: str = "constant") -> None:
        self.graph = graph
        self.prefix = prefix
        self._pending: list[ir.Node] = []
        self._names: set[str | None] | None = None

    def op(
        self, op_type: str, *inputs: ir.Value | None, name: str | None = None, domain: str = "", **attributes: Attribute
    ) -> ir.Value:
        """Add a node of one output. The graph names both unless ``name`` does, numbered if that name is used."""
        return self.multi_op(op_type, *inputs, outputs=[name], domain=domain, **attributes)[0]

    def multi_op(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        outputs: int | Sequence[str | None],
        domain: str = "",
        **attributes: Attribute,
    ) -> list[ir.Value]:
        """Add a node of several outputs: so many, or of those names, the first of which is the node's too."""
        values = [ir.Value(name=None if name is None else self._unused(name)) for name in self._names_of(outputs)]
        attrs = ir.convenience.convert_attributes(attributes)
        self._pending.append(ir.Node(domain, op_type, inputs, attrs, outputs=values, name=values[0].name))
        return values

    def constant(self, numbers: NDArray[Any] | int | float | Sequence[int], name: str | None = None) -> ir.Value:
        """Add a constant, once under its name. Python's integers are int64 there, its floats float32."""
        array = np.asarray(numbers, np.float32 if isinstance(numbers, float) else None)
        name = self.constant_name(array) if name is None else name
        if name not in self.graph.initializers:
            tensor = ir.tensor(array, name=name)
            value_type, shape = ir.TensorType(tensor.dtype), ir.Shape(array.shape)
            self.graph.initializers.add(ir.Value(name=name, type=value_type, shape=shape, const_value=tensor))
        return self.graph.initializers[name]

    def constant_name(self, array: NDArray[Any]) -> str:
        """Name a constant that was given no name: its numbers are in it, for they are few."""
        return f"{self.prefix}.{array.dtype}.{'x'.join(map(str, np.atleast_1d(array)))}.{array.ndim}"

    def weight(self, name: str, shape: Sequence[int]) -> ir.Value:
        """Add the initializer without numbers that stands for a float tensor of the checkpoint."""
        if name not in self.graph.initializers:
            value_type = ir.TensorType(ir.DataType.FLOAT)
            self.graph.initializers.add(ir.Value(name=name, type=value_type, shape=ir.Shape(shape)))
        return self.graph.initializers[name]

    def linear(self, x: ir.Value, weight: ir.Value, bias: ir.Value | None = None) -> ir.Value:
        """Multiply ``x @ weight.T + bias`` in the nodes that lowering looks for; ``weight`` is ``[out, in]``."""
        product = self.op("MatMul", x, self.op("Transpose", weight, perm=[1, 0]))
        return product if bias is None else self.op("Add", product, bias)

    def dim(self, value: ir.Value, axis: int) -> ir.Value:
        """Size of an axis, int64 ``[1]``."""
        return self.op("Shape", value, start=axis, end=axis + 1)

    def size(self, value: ir.Value, axis: int) -> ir.Value:
        """Size of an axis, one int64 without axes."""
        return self.op("Squeeze", self.dim(value, axis))

    def insert_before(self, node: ir.Node) -> None:
        """Place what is waiting in front of a node."""
        self.graph.insert_before(node, self._flush())

    def append(self) -> None:
        """Place what is waiting behind the last node."""
        self.graph.extend(self._flush())

    def replace(self, old: ir.Node, *values: ir.Value, rename: bool = False) -> None:
        """Place what is waiting where ``old`` is, and let ``values`` take the places of its first outputs.

        They take over types and shapes; names too where ``rename`` says so, and wherever the graph gives them out.
        """
        for output, value in zip(old.outputs, values, strict=False):
            value.type, value.shape, name = output.type, output.shape, output.name
            is_output = output.is_graph_output()
            ir.convenience.replace_all_uses_with(output, value, replace_graph_outputs=True)
            if rename or is_output:
                output.name, value.name = None, name
        self.insert_before(old)
        self.graph.remove(old, safe=True)

    def _names_of(self, outputs: int | Sequence[str | None]) -> Sequence[str | None]:
        """Names that a new node's outputs have unless others do."""
        return [None] * outputs if isinstance(outputs, int) else outputs

    def _flush(self) -> list[ir.Node]:
        nodes, self._pending = self._pending, []
        return nodes

    def _unused(self, name: str) -> str:
        """The name, or with the first number behind it that no value of the graph has."""
        if self._names is None:
            self._names = {value.name for node in self.graph for value in node.outputs}
        count, free = 0, name
        while free in self._names or free in self.graph.initializers:
            count, free = count + 1, f"{name}.{count + 1}"
        self._names.add(free)
        return free


class NumberedBuilder(GraphBuilder):
    """A builder whose nodes are numbered: outputs are named ``prefix.NODE.OUTPUT`` and what ``outputs`` adds to that.

    So a name tells where a node is from, and by the ending how it is to be computed. ``ending``: what is added to the
    names of those that get none.
    """

    def __init__(self, graph: ir.Graph, prefix: str, ending: str = "") -> None:
        super().__init__(graph, prefix)
        self.ending = ending
        self.count = 0

    def _names_of(self, outputs: int | Sequence[str | None]) -> Sequence[str | None]:
        self.count += 1
        endings = super()._names_of(outputs)
        return [f"{self.prefix}.{self.count}.{i}{ending or self.ending}" for i, ending in enumerate(endings)]
