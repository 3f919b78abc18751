"""Add lowered nodes and external tensors to a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import onnx_ir as ir
import torch
from onnx_ir.tensor_adapters import from_torch_dtype
from torch import Tensor

from compress.export.lowering.external_data import ExternalData
from compress.graph.builder import GraphBuilder


class Emitter(GraphBuilder):
    """Writes into one graph and its external data; each tensor is written once, however often it is asked for.

    ``dtype``: what the graph is computed in.
    """

    def __init__(self, graph: ir.Graph, external: ExternalData, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(graph)
        self.dtype = dtype
        self._external = external
        self._stored = external.stored
        self.widened = 0
        """bytes by which constants are larger once a runtime has computed them"""
        self._loaded: dict[str, ir.Value] = {}

    def initializer(self, name: str, make: Callable[[], Tensor], shape: tuple[int, ...] | None = None) -> ir.Value:
        """The initializer of that name and shape, made and written on first use; other shapes share its bytes."""
        if name not in self._stored:
            self._stored[name] = self._external.write(name, make())
        stored = self._stored[name]
        if shape is None or shape == tuple(stored.shape):
            alias, tensor = name, stored
        else:
            alias = f"{name}.{'x'.join(map(str, shape))}"
            tensor = self._external.alias(alias, stored, shape)
        existing = self.graph.initializers.get(alias)
        if existing is not None and existing.const_value is tensor:
            return existing
        value = ir.Value(name=alias, type=ir.TensorType(tensor.dtype), shape=ir.Shape(tensor.shape), const_value=tensor)
        if existing is not None:
            ir.convenience.replace_all_uses_with(existing, value)
            del self.graph.initializers[alias]
        self.graph.initializers.add(value)
        return value

    def int4_initializer(self, name: str, make: Callable[[], Tensor], shape: tuple[int, ...]) -> ir.Value:
        """The initializer of that name: 4-bit integers of that shape, of which ``make`` gives two in a byte."""
        if name not in self._stored:
            self._stored[name] = self._external.write(name, make(), ir.DataType.INT4, shape)
        return self.initializer(name, make)

    def to_graph_dtype(self, stored: ir.Value) -> ir.Value:
        """Floats in the type of the graph: themselves, or one Cast, for all who read them, of what is in another.

        Runtimes cast what is constant once, as they load a graph.
        """
        dtype = from_torch_dtype(self.dtype)
        if stored.dtype == dtype:
            return stored
        constant, name = stored.const_value, f"{stored.name}.float"
        widened = 0 if constant is None else constant.size * int(dtype.itemsize) - constant.nbytes
        cast = partial(self.op, "Cast", stored, name=name, to=int(dtype))
        return self.once_loaded(name, cast, dtype, stored.shape, widened)

    def once_loaded(
        self,
        name: str,
        make: Callable[[], ir.Value],
        dtype: ir.DataType,
        shape: ir.Shape | Sequence[int] | None,
        widened: int = 0,
    ) -> ir.Value:
        """What a runtime computes of constants as it loads the graph, once for all who read it.

        It has that type and shape, and ``widened`` bytes more than they.
        """
        if name not in self._loaded:
            self._loaded[name] = value = make()
            value.type, value.shape = ir.TensorType(dtype), None if shape is None else ir.Shape(shape)
            self.widened += widened
        return self._loaded[name]
