"""A float graph that is declared here, part by part, because no graph source has it.

Its weights are initializers without values, by the checkpoint's names and used through a Transpose, as those of built
graphs are: lowering takes it from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.tape import Tape

OPSET, IR_VERSION = 23, 11
CONTRIB = "com.microsoft"
Shape = Sequence[int | str]
Cache = tuple[ir.Value, ir.Value]
"""Keys and values ``[b, heads, t, size]``."""


class Draft:
    """A graph on its way: ``shapes`` are those of the checkpoint's tensors, linears' ``[out, in]``.

    ``fused`` adds and normalizes in one operator.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], fused: bool) -> None:
        self.shapes = shapes
        self.fused = fused
        self.inputs: list[ir.Value] = []
        self.outputs: list[ir.Value] = []
        self._tape = Tape()
        self._initializers: dict[str, ir.Value] = {}

    def op(self, kind: str, *inputs: ir.Value | None, domain: str = "", **attributes: Any) -> ir.Value:
        """A node of one output."""
        return self._tape.op(kind, inputs, attributes, domain=domain)

    def input(self, name: str, shape: Shape, dtype: ir.DataType = ir.DataType.FLOAT) -> ir.Value:
        """An input of the graph."""
        value = ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(shape))
        self.inputs.append(value)
        return value

    def output(self, name: str, value: ir.Value, shape: Shape) -> None:
        """An output of the graph, of floats."""
        value.name, value.type, value.shape = name, ir.TensorType(ir.DataType.FLOAT), ir.Shape(shape)
        self.outputs.append(value)

    def constant(self, array: NDArray[Any]) -> ir.Value:
        """A constant, named after what it holds: equal ones are one, in whichever graph beside a sidecar."""
        said = f"{array.dtype}{array.shape}".encode() + array.tobytes()
        name = f"constant.{sha256(said).hexdigest()[:16]}"
        if name not in self._initializers:
            tensor = ir.tensor(array, name=name)
            known = ir.TensorType(tensor.dtype)
            self._initializers[name] = ir.Value(name=name, type=known, shape=ir.Shape(array.shape), const_value=tensor)
        return self._initializers[name]

    def integers(self, *numbers: int) -> ir.Value:
        """A constant vector."""
        return self.constant(np.array(numbers, np.int64))

    def weight(self, name: str) -> ir.Value:
        """A tensor of the checkpoint."""
        if name not in self._initializers:
            known = ir.TensorType(ir.DataType.FLOAT)
            self._initializers[name] = ir.Value(name=name, type=known, shape=ir.Shape(self.shapes[name]))
        return self._initializers[name]

    def gather(self, name: str, ids: ir.Value) -> ir.Value:
        """Rows of a table, ``name`` without ``.weight``."""
        return self.op("Gather", self.weight(f"{name}.weight"), ids, axis=0)

    def linear(self, name: str, x: ir.Value) -> ir.Value:
        """A linear, its bias with it if the checkpoint has one."""
        product = self.op("MatMul", x, self.op("Transpose", self.weight(f"{name}.weight"), perm=[1, 0]))
        return self.op("Add", product, self.weight(f"{name}.bias")) if f"{name}.bias" in self.shapes else product

    def scaled(self, x: ir.Value, factor: float) -> ir.Value:
        """``factor`` times ``x``."""
        return x if factor == 1 else self.op("Mul", x, self.constant(np.array(factor, np.float32)))

    def norm(self, name: str, x: ir.Value, epsilon: float) -> ir.Value:
        """A norm: of layers where the checkpoint has a bias for it, of root mean squares where not."""
        if f"{name}.bias" in self.shapes:
            gain, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
            return self.op("LayerNormalization", x, gain, bias, axis=-1, epsilon=epsilon)
        return self.op("RMSNormalization", x, self.weight(f"{name}.weight"), axis=-1, epsilon=epsilon)

    def add_norm(self, name: str, x: ir.Value, more: ir.Value, epsilon: float) -> tuple[ir.Value, ir.Value]:
        """``x + more``, and its norm."""
        if not self.fused:
            total = self.op("Add", x, more)
            return total, self.norm(name, total, epsilon)
        layers = f"{name}.bias" in self.shapes
        given = [x, more, self.weight(f"{name}.weight"), *([self.weight(f"{name}.bias")] if layers else [])]
        kind = "SkipLayerNormalization" if layers else "SkipSimplifiedLayerNormalization"
        norm, _, _, total = self._tape.op_multi_out(kind, given, {"epsilon": epsilon}, num_outputs=4, domain=CONTRIB)
        return total, norm

    def activation(self, name: str, x: ir.Value) -> ir.Value:
        """An activation by its name in transformers, one of `ACTIVATIONS`."""
        return ACTIVATIONS[name](self, x)

    def dim(self, of: ir.Value, axis: int) -> ir.Value:
        """The size of an axis, a vector of one."""
        return self.op("Shape", of, start=axis, end=axis + 1)

    def attention_mask(self, mask: ir.Value, ids: ir.Value) -> ir.Value:
        """Of ``mask`` int64 ``[b, t]`` for every one of the queries ``ids`` ``[b, s]``, bool ``[b, 1, s, t]``."""
        wide = self.op("Unsqueeze", self.op("Cast", mask, to=int(ir.DataType.BOOL)), self.integers(1, 2))
        return self.op(
            "Expand", wide, self.op("Concat", self.integers(1, 1), self.dim(ids, 1), self.integers(1), axis=0)
        )

    def attention(
        self,
        parts: Sequence[ir.Value],
        heads: int,
        scale: float,
        mask: ir.Value | None = None,
        past: Cache | None = None,
    ) -> tuple[ir.Value, Cache]:
        """Attention of queries, keys and values ``[b, s, heads * size]``; and the cache afterwards.

        Behind a ``past`` tokens see those before them alone.
        """
        attributes: dict[str, Any] = {"q_num_heads": heads, "kv_num_heads": heads, "scale": scale}
        if past is None:
            return self.op("Attention", *parts, mask, **attributes), (parts[1], parts[2])
        inputs = [*parts, mask, *past]
        said, keys, values = self._tape.op_multi_out("Attention", inputs, attributes | {"is_causal": 1}, num_outputs=3)
        return said, (keys, values)

    def build(self, name: str) -> ir.Model:
        """The graph, whole."""
        opsets = {"": OPSET, CONTRIB: 1}
        held = list(self._initializers.values())
        graph = ir.Graph(
            self.inputs, self.outputs, nodes=self._tape.nodes, initializers=held, opset_imports=opsets, name=name
        )
        return ir.Model(graph, ir_version=IR_VERSION)


def _gelu(draft: Draft, x: ir.Value) -> ir.Value:
    return draft.op("Gelu", x)


def _gelu_tanh(draft: Draft, x: ir.Value) -> ir.Value:
    return draft.op("Gelu", x, approximate="tanh")


def _silu(draft: Draft, x: ir.Value) -> ir.Value:
    return draft.op("Mul", x, draft.op("Sigmoid", x))


def _relu(draft: Draft, x: ir.Value) -> ir.Value:
    return draft.op("Relu", x)


ACTIVATIONS = {
    "relu": _relu,
    "gelu": _gelu,
    "gelu_new": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "silu": _silu,
    "swish": _silu,
}
"""By their names in transformers."""
