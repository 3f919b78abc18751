"""Tables of positions: what a graph computes of their formula is the table, once, as the runtime loads it."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch

from compress.export.lowering.position_table import Angles, PositionTable, compute_tables, shorten_tables
from compress.graph.builder import GraphBuilder
from tests.support.graphs import empty_graph, operators, output, run

FREQUENCIES = (1.0 / 1e6 ** (torch.arange(0, 64, 2).float() / 64)).numpy()


def torch_table(function, *parts):
    rows = [
        getattr(torch, function.lower())(
            torch.arange(part.length).float()[:, None] * torch.from_numpy(part.frequencies)
        )
        * part.scaling
        for part in parts
    ]
    return torch.cat(rows).numpy()


def looked_up(tables):
    """A graph that looks its positions up in tables, and adds the rows."""
    graph = empty_graph(position_ids=ir.DataType.INT64)
    builder = GraphBuilder(graph)
    rows = []
    for i, table in enumerate(tables):
        constant = builder.constant(table.numpy(), f"table.{i}")
        constant.const_value = table
        rows.append(builder.op("Gather", constant, graph.inputs[0], axis=0))
    output(graph, builder.op("Sum", *rows))
    builder.append()
    return ir.Model(graph, ir_version=11)


@pytest.mark.parametrize("function", ["Cos", "Sin"])
@pytest.mark.parametrize("parts", [
    [Angles(FREQUENCIES, 1.0, 32768)], [Angles(FREQUENCIES, 1.2, 100), Angles(FREQUENCIES / 7, 1.2, 5000)],
])  # fmt: skip
def test_what_is_computed_is_torchs_table(function, parts):
    """To the last bits of float32, up to angles of ten thousands."""
    table = PositionTable(torch_table(function, *parts), "t", parts[-1].length, function, parts)
    model = looked_up([table])
    compute_tables(model)
    assert [value.name for value in model.graph.initializers.values() if value.const_value.nbytes > 200] == []
    rows = np.arange(len(table.numpy()))
    (actual,) = run(model.graph, position_ids=rows)
    assert np.abs(actual - table.numpy()).max() < 2.5e-7 * parts[0].scaling


def test_the_runtime_computes_it_once_and_cosines_and_sines_of_the_same_angles(tmp_path):
    part = Angles(FREQUENCIES, 1.0, 4096)
    model = looked_up([PositionTable(torch_table(f, part), f, part.length, f, [part]) for f in ("Cos", "Sin")])
    compute_tables(model)
    assert operators(model.graph).count("Mul") == 1
    ir.save(model, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").stat().st_size < 4000  # 1 MB as tables
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    ort.InferenceSession(tmp_path / "m.onnx", options, providers=["CPUExecutionProvider"])
    loaded = onnx.load(tmp_path / "loaded.onnx").graph
    assert [node.op_type for node in loaded.node] == ["Gather", "Gather", "Sum"]
    assert [list(tensor.dims) for tensor in loaded.initializer] == [[4096, 32]] * 2


def test_a_table_that_the_formula_does_not_give_keeps_its_numbers():
    part = Angles(FREQUENCIES, 1.0, 64)
    values = torch_table("Cos", part)
    values[40, 3] += 1e-5
    tables = [
        PositionTable(values, "other", 64, "Cos", [part]),
        PositionTable(values, "narrow", 64, "Cos", [Angles(FREQUENCIES[:5], 1.0, 64)]),
        PositionTable(values, "unknown", 64),
    ]
    assert [table.function for table in tables] == [None] * 3
    model = looked_up(tables)
    compute_tables(model)
    assert operators(model.graph) == ["Gather"] * 3 + ["Sum"]


def test_a_table_ends_at_the_longest_text():
    """What lies above the rows of positions stays: the angles of short texts."""
    parts = [Angles(FREQUENCIES, 1.0, 100), Angles(FREQUENCIES / 7, 1.0, 5000)]
    values = torch_table("Sin", *parts)
    tables = [PositionTable(values, "two", 5000, "Sin", parts), PositionTable(values, "plain", len(values))]
    model = looked_up(tables)
    shorten_tables(model, 250)
    two, plain = (value.const_value for value in model.graph.initializers.values())
    assert np.array_equal(two.numpy(), values[:350])
    assert ([part.length for part in two.parts], two.function, two.length) == ([100, 250], "Sin", 250)
    assert np.array_equal(plain.numpy(), values[:250])
    shorten_tables(model, 300)
    assert [value.const_value.length for value in model.graph.initializers.values()] == [250, 250]
