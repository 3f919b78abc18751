"""Graphs whose operators round, computed in float on the numbers that they have."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch

from compress.checkpoint.model import Model
from compress.export.built.build import build
from compress.export.lowering import onnxruntime as lowering
from compress.export.parity.unrounded import unrounded
from compress.passes.fuse import Fuse
from tests.support.graphs import run_lowered

X = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
MATRIX = torch.randn(8, 32, generator=torch.Generator().manual_seed(1))


def product(graph, folder):
    """What a serialized graph makes of X, its tensors in a folder."""
    options = ort.SessionOptions()
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return torch.from_numpy(np.asarray(session.run(None, {"x0": X.numpy()})[0]))


@pytest.mark.parametrize("per_token", [True, False])
def test_inputs_are_floats_and_the_integers_those_of_the_file(rounded, tmp_path, per_token):
    weight = rounded(MATRIX, None, act="dynamic")
    actual, _ = run_lowered(tmp_path, lambda emit, x: lowering.dynamic(emit, "w", weight, x, None, per_token), X)
    exact = X @ weight.dequantize().T
    assert (product(unrounded(tmp_path / "model.onnx"), tmp_path) - exact).abs().max() < 1e-5
    assert 1e-3 < (actual - exact).abs().max() < 1


@pytest.mark.parametrize(("part", "change"), [
    ("w.codes.T", lambda array: array + 1), ("w.scale", lambda array: array * 1.05),
    ("w.zero_point", lambda array: array + 1),
])  # fmt: skip
def test_a_wrong_number_of_the_file_stays_wrong(rounded, tmp_path, part, change):
    weight = rounded(MATRIX, None, act="dynamic")
    run_lowered(tmp_path, lambda emit, x: lowering.dynamic(emit, "w", weight, x, None), X)
    model = ir.load(tmp_path / "model.onnx")
    value = model.graph.initializers[part]
    stored = value.const_value.numpy()
    value.const_value = ir.tensor(change(stored).astype(stored.dtype), name=part)
    ir.save(model, tmp_path / "mutant.onnx")
    off = product(unrounded(tmp_path / "mutant.onnx"), tmp_path) - X @ weight.dequantize().T
    assert off.abs().max() > 0.05


def test_a_bias_is_added(rounded, tmp_path):
    weight, bias = rounded(MATRIX, None, act="dynamic"), torch.arange(8.0)
    build_it = lambda emit, x: lowering.dynamic(emit, "w", weight, x, emit.initializer("b", lambda: bias), False)  # noqa: E731
    run_lowered(tmp_path, build_it, X)
    exact = X @ weight.dequantize().T + bias
    assert (product(unrounded(tmp_path / "model.onnx"), tmp_path) - exact).abs().max() < 1e-5


def test_what_rounds_nothing_is_left_alone(rounded, tmp_path):
    run_lowered(tmp_path, lambda emit, x: lowering.weight_only(emit, "w", rounded(MATRIX, 32, 4), x, None), X)
    assert unrounded(tmp_path / "model.onnx") is None


def test_a_cache_is_float_or_stays(llama, tmp_path):
    model = Model.open(str(llama))
    graph = build(model.config, model.names, fused=True).model
    Fuse(kv="int8").rewrite(graph)
    for value in graph.graph.initializers.values():
        if value.const_value is None:
            value.const_value = ir.tensor(np.ones([int(n) for n in value.shape], np.float32), name=value.name)
    ir.save(graph, path := tmp_path / "model.onnx")
    assert unrounded(path, cache=False) is None
    floats = ir.serde.deserialize_model(onnx.load_from_string(unrounded(path)))
    caches = [value for value in (*floats.graph.inputs, *floats.graph.outputs) if "key" in value.name]
    assert {value.dtype for value in caches} == {ir.DataType.FLOAT}
    assert not any("kv_cache_bit_width" in node.attributes for node in floats.graph)
