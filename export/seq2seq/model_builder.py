"""Builder for ONNX graphs that mobius has no model for: the layers of encoder-decoders.

Weights are initializers without values, by the checkpoint's names and used through a Transpose, as those of built
graphs are: lowering takes it from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from compress.graph.builder import Attribute, GraphBuilder
from compress.onnx_names import CONTRIB_DOMAIN

OPSET, IR_VERSION = 23, 11
Shape = Sequence[int | str]
KeysValues = tuple[ir.Value, ir.Value]
"""Keys and values ``[b, heads, t, size]``."""


class ModelBuilder(GraphBuilder):
    """Builder of a graph ``name`` for a checkpoint whose tensors have those ``shapes``, linears' ``[out, in]``.

    ``fused`` adds and normalizes in one operator.
    """

    def __init__(self, name: str, shapes: Mapping[str, tuple[int, ...]], fused: bool) -> None:
        super().__init__(ir.Graph([], [], nodes=[], opset_imports={"": OPSET, CONTRIB_DOMAIN: 1}, name=name))
        self.shapes = shapes
        self.fused = fused

    def constant_name(self, array: NDArray[Any]) -> str:
        """Named after what it holds, however much: equal ones are one, in both graphs of a file of tensors."""
        content = f"{array.dtype}{array.shape}".encode() + array.tobytes()
        return f"constant.{sha256(content).hexdigest()[:16]}"

    def input(self, name: str, shape: Shape, dtype: ir.DataType = ir.DataType.FLOAT) -> ir.Value:
        """Add an input to the graph."""
        value = ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(shape))
        self.graph.inputs.append(value)
        return value

    def output(self, name: str, value: ir.Value, shape: Shape) -> None:
        """Add an output of floats to the graph."""
        value.name, value.type, value.shape = name, ir.TensorType(ir.DataType.FLOAT), ir.Shape(shape)
        self.graph.outputs.append(value)

    def tensor(self, name: str) -> ir.Value:
        """Refer to a tensor of the checkpoint."""
        return self.weight(name, self.shapes[name])

    def gather(self, name: str, ids: ir.Value) -> ir.Value:
        """Look up rows of a table, ``name`` without ``.weight``."""
        return self.op("Gather", self.tensor(f"{name}.weight"), ids, axis=0)

    def project(self, name: str, x: ir.Value) -> ir.Value:
        """Apply a linear of the checkpoint, with its bias if it has one."""
        return self.linear(x, self.tensor(f"{name}.weight"), self._bias(name))

    def scaled(self, x: ir.Value, factor: float) -> ir.Value:
        """Multiply ``x`` by ``factor``."""
        return x if factor == 1 else self.op("Mul", x, self.constant(float(factor)))

    def norm(self, name: str, x: ir.Value, epsilon: float) -> ir.Value:
        """Layer norm where the checkpoint has a bias for it, RMS norm where not."""
        gain, bias = self.tensor(f"{name}.weight"), self._bias(name)
        if bias is not None:
            return self.op("LayerNormalization", x, gain, bias, axis=-1, epsilon=epsilon)
        return self.op("RMSNormalization", x, gain, axis=-1, epsilon=epsilon)

    def add_norm(self, name: str, x: ir.Value, update: ir.Value, epsilon: float) -> tuple[ir.Value, ir.Value]:
        """Sum ``x + update``, and the norm of the sum."""
        if not self.fused:
            total = self.op("Add", x, update)
            return total, self.norm(name, total, epsilon)
        gain, bias = self.tensor(f"{name}.weight"), self._bias(name)
        op_type = "SkipSimplifiedLayerNormalization" if bias is None else "SkipLayerNormalization"
        inputs = [x, update, gain] if bias is None else [x, update, gain, bias]
        norm, _, _, total = self.multi_op(op_type, *inputs, outputs=4, domain=CONTRIB_DOMAIN, epsilon=epsilon)
        return total, norm

    def activation(self, name: str, x: ir.Value) -> ir.Value:
        """Apply an activation by its name in transformers, one of `ACTIVATIONS`."""
        return ACTIVATIONS[name](self, x)

    def attention(
        self,
        projections: Sequence[ir.Value],
        heads: int,
        scale: float,
        mask: ir.Value | None = None,
        past: KeysValues | None = None,
    ) -> tuple[ir.Value, KeysValues]:
        """Attention of queries, keys and values ``[b, s, heads * size]``, and its cache afterwards.

        Behind a ``past`` tokens see those before them alone.
        """
        inputs: list[ir.Value | None] = [*projections, mask, *(past or ())]
        attributes: dict[str, Attribute] = {"q_num_heads": heads, "kv_num_heads": heads, "scale": scale}
        if past is None:
            out = self.op("Attention", *inputs, name=None, domain="", **attributes)
            return out, (projections[1], projections[2])
        out, keys, values = self.multi_op("Attention", *inputs, outputs=3, domain="", **attributes, is_causal=1)
        return out, (keys, values)

    def build(self) -> ir.Model:
        """Build the model of the finished graph."""
        self.append()
        return ir.Model(self.graph, ir_version=IR_VERSION)

    def _bias(self, name: str) -> ir.Value | None:
        return self.tensor(f"{name}.bias") if f"{name}.bias" in self.shapes else None


def _gelu(builder: GraphBuilder, x: ir.Value) -> ir.Value:
    return builder.op("Gelu", x)


def _gelu_tanh(builder: GraphBuilder, x: ir.Value) -> ir.Value:
    return builder.op("Gelu", x, approximate="tanh")


def _silu(builder: GraphBuilder, x: ir.Value) -> ir.Value:
    return builder.op("Mul", x, builder.op("Sigmoid", x))


def _relu(builder: GraphBuilder, x: ir.Value) -> ir.Value:
    return builder.op("Relu", x)


ACTIVATIONS: Mapping[str, Callable[[GraphBuilder, ir.Value], ir.Value]] = {
    "relu": _relu,
    "gelu": _gelu,
    "gelu_new": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "silu": _silu,
    "swish": _silu,
}
"""Activation functions as nodes, by their names in transformers."""
