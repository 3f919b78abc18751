"""Rotations of a built graph by transformers' own angles: from a table, or, where they change, chosen at every call.

What a call's angles are hangs on the largest of its positions, as in transformers: keys that are in the cache by then
keep the angles that they were written with. Who crosses that length takes the whole text in anew, as transformers'
``generate`` does.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PretrainedConfig

from compress.export.lowering.decompose import FLOAT32_SUFFIX
from compress.export.lowering.position_table import Angles, Function, PositionTable
from compress.graph.builder import GraphBuilder, required
from compress.modeling.rotations import DYNAMIC, LayerType, rotary_width, rotation_type, rotations, switches
from compress.onnx_names import TABLES

CosSin = tuple[ir.Value, ir.Value]
"""Cosines and sines: tables ``[positions, width / 2]``, or rows of them for each token ``[b, s, width / 2]``."""


def fix_rotations(graph: ir.Graph, nodes: list[ir.Node], config: PretrainedConfig, rotary: nn.Module | None) -> None:
    """Let the attention ``nodes`` of a graph, in the order of its layers, be rotated by the angles of ``rotary``.

    Nodes that rotate by themselves get tables, those behind RotaryEmbedding rows of them. ``rotary`` is transformers'
    module, None for a model without one, whose graph stays as it is.
    """
    if rotary is None or not rotations(config):
        return
    builder = GraphBuilder(graph, "rotary")
    sources: dict[LayerType, _Source] = {}
    for node, layer_type in zip(nodes, _layer_types(config, len(nodes)), strict=True):
        rotating = _rotations_before(node)
        if not rotating and not node.attributes.get_int("do_rotary", 0):
            continue
        interleaved = (rotating or [node])[0].attributes.get_int("interleaved" if rotating else "rotary_interleaved", 0)
        if layer_type not in sources:
            sources[layer_type] = _Source(builder, config, rotary, layer_type, bool(interleaved))
        source = sources[layer_type]
        for rotation in rotating:
            for slot, value in zip((1, 2), source.rows, strict=True):
                rotation.replace_input_with(slot, value)
        if not rotating:
            for slot, value in zip(TABLES, source.tables, strict=True):
                node.replace_input_with(slot, value)
    builder.insert_before(next(iter(graph)))


def _layer_types(config: PretrainedConfig, layers: int) -> list[LayerType]:
    """The rotation of each layer, by the type of layer that it is for."""
    return [None] * layers if None in rotations(config) else list(config.layer_types)


def _rotations_before(node: ir.Node) -> list[ir.Node]:
    """The nodes that rotate an attention's queries and keys."""
    producers = [value.producer() for value in node.inputs[:2] if value is not None]
    return [producer for producer in producers if producer is not None and producer.op_type == "RotaryEmbedding"]


class _Source:
    """The angles of one rotation, of which tables and rows are made once."""

    def __init__(
        self, builder: GraphBuilder, config: PretrainedConfig, rotary: nn.Module, layer_type: LayerType, pairs: bool
    ) -> None:
        self.builder = builder
        self.config = config
        self.rotary = rotary
        self.layer_type = layer_type
        self.pairs = pairs
        self.kind = rotation_type(rotations(config)[layer_type])
        self.switch = switches(config).get(layer_type)
        self.nodes = 0
        self._tables: CosSin | None = None
        self._rows: CosSin | None = None

    @property
    def tables(self) -> CosSin:
        """Tables of all positions; of one whose angles change, those of short texts on top of those of long ones."""
        if self._tables is None:
            longest = self.config.max_position_embeddings
            lengths = [longest] if self.switch is None else [self.switch, longest]
            parts = [(*self.angles(length), self.formula(length)) for length in lengths]
            cos, sin = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
            formulas = [part[2] for part in parts]
            self._tables = self._table("Cos", cos, formulas), self._table("Sin", sin, formulas)
        return self._tables

    @property
    def rows(self) -> CosSin:
        """Rows for the positions of a call."""
        if self._rows is None:
            self._rows = self.computed() if DYNAMIC in self.kind else self.looked_up()
        return self._rows

    def name(self, part: str) -> str:
        """Name of a constant."""
        return ".".join(filter(None, ("rotary", self.layer_type, part)))

    def angles(self, longest: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """transformers' cosines and sines of a text of ``longest`` tokens, each ``[longest, width / 2]``."""
        arguments = (torch.zeros(1), torch.arange(longest)[None])
        with torch.inference_mode():
            cos, sin = self.rotary(*arguments, *((self.layer_type,) if self.layer_type else ()))
        half = cos.shape[-1] // 2
        first = slice(None, None, 2) if self.pairs else slice(half)
        return cos[0, :, first].numpy().copy(), sin[0, :, first].numpy().copy()

    def formula(self, length: int) -> Angles:
        """The angles by transformers' inverse frequencies, as its module has left them after that many tokens."""
        prefix = f"{self.layer_type}_" if self.layer_type else ""
        frequencies = getattr(self.rotary, f"{prefix}inv_freq", torch.zeros(0))
        scaling = getattr(self.rotary, f"{prefix}attention_scaling", 1.0)
        return Angles(frequencies.float().numpy().copy(), float(scaling), length)

    def _table(self, function: Function, values: NDArray[np.float32], parts: list[Angles]) -> ir.Value:
        """A table as a constant that knows its formula."""
        value = self.builder.constant(values, self.name(function.lower()))
        value.const_value = PositionTable(values, str(value.name), parts[-1].length, function, parts)
        return value

    def looked_up(self) -> CosSin:
        """Rows of the tables; of the long texts' part where a position lies behind the switch."""
        builder, positions = self.builder, _positions(self.builder)
        if self.switch is not None:
            last = builder.op("ReduceMax", positions, keepdims=0)
            is_long = builder.op("Greater", last, builder.constant(self.switch - 1))
            rows = builder.op("Where", is_long, builder.constant(self.switch), builder.constant(0))
            positions = builder.op("Add", positions, rows)
        cos, sin = (builder.op("Gather", table, positions, axis=0) for table in self.tables)
        return self._typed(cos), self._typed(sin)

    def computed(self) -> CosSin:
        """NTK-aware angles, whose base grows with the text (transformers' ``_compute_dynamic_ntk_parameters``).

        In float32 whatever the graph is computed in: 16 bits don't tell large angles apart.
        """
        settings, width = rotations(self.config)[self.layer_type], rotary_width(self.config)
        factor, base, first = float(settings["factor"]), float(settings["rope_theta"]), float(required(self.switch))
        positions = self._exact("Cast", _positions(self.builder), to=int(ir.DataType.FLOAT))
        length = self._exact("Add", self._exact("ReduceMax", positions, keepdims=0), self._number(1.0))
        length = self._exact("Max", length, self._number(first))
        ratio = self._exact("Div", self._exact("Mul", length, self._number(factor)), self._number(first))
        growth = self._exact("Sub", ratio, self._number(factor - 1))
        growth = self._exact("Pow", growth, self._number(width / (width - 2)))
        exponents = (torch.arange(0, width, 2, dtype=torch.int64).float() / width).numpy()
        grown = self._exact("Mul", growth, self._number(base))
        powers = self._exact("Pow", grown, self._constant(exponents, "exponents"))
        frequencies = self._exact("Div", self._number(1.0), powers)
        column = self._exact("Unsqueeze", positions, self.builder.constant([2]))
        angles = self._exact("Mul", column, frequencies)
        cos, sin = (self._exact(function, angles) for function in ("Cos", "Sin"))
        cos, sin = (self.builder.op("Cast", value, to=int(ir.DataType.FLOAT)) for value in (cos, sin))
        return self._typed(cos), self._typed(sin)

    def _exact(self, op_type: str, *inputs: ir.Value, **attributes: int) -> ir.Value:
        """A node that computes in float32 whatever the graph is computed in."""
        self.nodes += 1
        name = f"{self.name(f'{self.nodes}')}{FLOAT32_SUFFIX}"
        return self.builder.op(op_type, *inputs, name=name, domain="", **attributes)

    def _number(self, number: float) -> ir.Value:
        return self._constant(np.array(number, np.float32), f"{number}")

    def _constant(self, array: NDArray[np.float32], name: str) -> ir.Value:
        """A constant that stays in float32."""
        return self.builder.constant(array, f"{self.name(name)}{FLOAT32_SUFFIX}")

    def _typed(self, rows: ir.Value) -> ir.Value:
        rows.type = ir.TensorType(ir.DataType.FLOAT)
        return rows


def _positions(builder: GraphBuilder) -> ir.Value:
    """The graph's ``position_ids``."""
    return next(value for value in builder.graph.inputs if value.name == "position_ids")
