"""Tables of what belongs to a position, such as a rotation's cosines: as long as a graph needs, or computed in it.

A runtime computes what is constant once, as it loads a graph: decoding then looks up the same table either way, but a
file holds some hundred bytes for one instead of megabytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from compress.export.lowering.decompose import FLOAT32_SUFFIX
from compress.graph.builder import NumberedBuilder

Function = Literal["Cos", "Sin"]
ROUNDING = 1e-6
"""How far two libraries' cosines of one angle may be from each other."""


@dataclass(frozen=True)
class Angles:
    """Angles of positions 0 … ``length`` − 1 by the inverse ``frequencies`` ``[width / 2]``, float32.

    ``scaling`` is what their cosines and sines are multiplied by.
    """

    frequencies: NDArray[np.float32]
    scaling: float
    length: int

    def rows(self, function: Function) -> NDArray[np.float32]:
        """A table ``[length, width / 2]`` of a function of these angles."""
        angles = np.arange(self.length, dtype=np.float32)[:, None] * self.frequencies
        rows: NDArray[np.float32] = (np.cos if function == "Cos" else np.sin)(angles) * np.float32(self.scaling)
        return rows


class PositionTable(ir.Tensor[NDArray[np.float32]]):
    """A table ``[rows, width]`` whose last ``length`` rows belong to positions 0, 1, …; what is above them is fixed.

    ``function`` of the angles ``parts``, one below another, gives the same table; None where no formula is known.
    """

    def __init__(
        self,
        values: NDArray[np.float32],
        name: str,
        length: int,
        function: Function | None = None,
        parts: Sequence[Angles] = (),
    ) -> None:
        super().__init__(values, name=name)
        self.length = length
        self.parts = tuple(parts)
        self.function = function if function is not None and self._computes(function) else None

    def _computes(self, function: Function) -> bool:
        """Whether the formula gives the table's numbers, to float32's rounding."""
        if any(len(part.frequencies) != self.shape[1] for part in self.parts):
            return False
        computed = np.concatenate([part.rows(function) for part in self.parts])
        largest = max(abs(part.scaling) for part in self.parts)
        return computed.shape == self.shape and bool(np.abs(computed - self.numpy()).max() <= ROUNDING * largest)

    def shortened(self, context: int) -> PositionTable:
        """The table of the first ``context`` positions."""
        surplus = max(0, self.length - context)
        if not surplus:
            return self
        rows, length = self.numpy()[: self.shape[0] - surplus], self.length - surplus
        parts = [*self.parts[:-1], *(replace(part, length=length) for part in self.parts[-1:])]
        return PositionTable(rows, str(self.name), length, self.function, parts)


def shorten_tables(model: ir.Model, context: int) -> None:
    """Cut the tables of a graph to the first ``context`` positions."""
    for value in model.graph.initializers.values():
        if isinstance(value.const_value, PositionTable):
            value.const_value = value.const_value.shortened(context)
            value.shape = ir.Shape(value.const_value.shape)


def compute_tables(model: ir.Model) -> None:
    """Replace tables of a float graph by nodes that compute them; in float32 whatever it is computed in."""
    builder = _TableBuilder(model.graph, "rotary", FLOAT32_SUFFIX)
    for name, value in list(model.graph.initializers.items()):
        table = value.const_value
        if isinstance(table, PositionTable) and table.function is not None:
            ir.convenience.replace_all_uses_with(value, builder.table(name, table, table.function))
            del model.graph.initializers[name]
    builder.insert_before(model.graph[0])


class _TableBuilder(NumberedBuilder):
    """Nodes for tables. Cosines and sines share their angles."""

    def __init__(self, graph: ir.Graph, prefix: str, ending: str) -> None:
        super().__init__(graph, prefix, ending)
        self._products: dict[tuple[bytes, int], ir.Value] = {}

    def table(self, name: str, table: PositionTable, function: Function) -> ir.Value:
        """The nodes for one table, of a float that follows the type of the graph."""
        parts = [self.rows(part, function) for part in table.parts]
        rows = parts[0] if len(parts) == 1 else self.op("Concat", *parts, axis=0)
        (typed,) = self.multi_op("Cast", rows, outputs=[f".{name}"], to=int(ir.DataType.FLOAT))
        typed.type, typed.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(table.shape)
        return typed

    def rows(self, part: Angles, function: Function) -> ir.Value:
        """Rows of a function of angles."""
        rows = self.op(function, self.angles(part))
        return rows if part.scaling == 1 else self.op("Mul", rows, self.exact(np.array(part.scaling, np.float32)))

    def angles(self, part: Angles) -> ir.Value:
        """Positions times frequencies, ``[length, width / 2]``."""
        key = part.frequencies.tobytes(), part.length
        if key not in self._products:
            start, end, step = (self.exact(np.array(number, np.float32)) for number in (0, part.length, 1))
            column = self.op("Unsqueeze", self.op("Range", start, end, step), self.constant([1]))
            frequencies = self.constant(part.frequencies, f"{self.prefix}.{self.count}.frequencies{FLOAT32_SUFFIX}")
            self._products[key] = self.op("Mul", column, frequencies)
        return self._products[key]

    def exact(self, number: NDArray[np.float32]) -> ir.Value:
        """A constant that stays in float32."""
        return self.constant(number, f"{self.constant_name(number)}{FLOAT32_SUFFIX}")
