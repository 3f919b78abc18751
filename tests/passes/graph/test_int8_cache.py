"""Caches in int8: types, and a scale a channel."""

import onnx_ir as ir

from compress.checkpoint.model import Model
from compress.export.built.build import build
from compress.passes.fuse import Fuse

LAYERS = 2


def test_an_int8_cache_is_int8_on_both_sides_with_a_scale_a_channel(llama):
    model = Model.open(str(llama))
    graph = build(model.config, model.names, fused=True).model
    assert Fuse(kv="int8").rewrite(graph) == Fuse().rewrite(build(model.config, model.names, fused=True).model) + LAYERS
    past = [value for value in graph.graph.inputs if value.name.startswith("past_key_values")]
    present = [value for value in graph.graph.outputs if value.name.startswith("present")]
    assert {value.dtype for value in [*past, *present]} == {ir.DataType.INT8}
    scales = [graph.graph.initializers[f"{value.name}.scale"] for value in past]
    assert [tuple(scale.shape) for scale in scales] == [(1, 2, 1, 16)] * 2 * LAYERS
    assert Fuse(kv="int8").rewrite(graph) == 0
