"""Bytes of an operator in three quarters of their number, and what the runtime makes of them as it loads a graph."""

from __future__ import annotations

import onnx
import onnxruntime as ort
import pytest
import torch

from compress.export.lowering import onnxruntime as nodes
from compress.export.lowering.block_packing import blocked
from compress.export.lowering.three_quarters import WIDER, three_quarters
from compress.weights.forms import stacked
from tests.support.graphs import run_lowered
from tests.support.tensors import gaussian
from tests.support.weights import rounded


def test_each_has_a_third_of_the_last_quarters_bits():
    """By hand: 6-bit codes 1, 2, 3 and 0b110110; pairs of 3-bit codes with the last of them 0b101 and 0b011."""
    six = three_quarters(torch.tensor([[1, 2, 3, 0b110110]], dtype=torch.uint8) << 2, 8)
    assert [part.tolist() for part in six] == [[[0b000001_11]], [[0b000010_01]], [[0b000011_10]]]
    three = three_quarters(torch.tensor([[0x00, 0x20, 0xE4, 0b1010_0110]], dtype=torch.uint8), 4)
    assert [part.tolist() for part in three] == [[[0x10]], [[0x21]], [[0xE4 | 0x11]]]


@pytest.mark.parametrize(("bits", "group"), [(3, 32), (3, None), (6, 32), (6, 16)])
def test_the_runtime_joins_them_as_it_loads_the_graph(tmp_path, bits, group):
    """Once, for two products with one matrix; what it loads then is what a wider operator reads."""
    weight, x = rounded(gaussian(24, 64), group, bits), gaussian(3, 64, seed=1)
    packed, widened = blocked(weight), 0

    def build(emit, x):
        nonlocal widened
        first, second = (nodes.linear(emit, "w", weight, x, None, shared=False) for _ in range(2))
        widened = emit.widened
        return emit.op("Add", first, second)

    actual, graph = run_lowered(tmp_path, build, x)
    expected = 2 * x @ weight.dequantize().T
    assert (actual - expected).norm() < 1e-5 * expected.norm()
    stored = sum(v.const_value.nbytes for v in graph.initializers.values() if ".codes." in v.name)
    assert stored == 24 * 64 * bits // 8
    assert widened == packed.codes.numel() - stored + (4 - weight.scale.element_size()) * weight.scale.numel()
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    ort.InferenceSession(tmp_path / "model.onnx", options, providers=["CPUExecutionProvider"])
    loaded = onnx.load(tmp_path / "loaded.onnx").graph
    assert {node.op_type for node in loaded.node} == {"MatMulNBits", "Add"}
    [codes] = {node.input[1] for node in loaded.node if node.op_type == "MatMulNBits"}
    [constant] = [tensor for tensor in loaded.initializer if tensor.name == codes]
    assert onnx.numpy_helper.to_array(constant).tolist() == packed.codes.tolist()
    assert packed.bits == WIDER[bits]


def test_matrices_of_6_bits_are_stacked(tmp_path):
    parts = [rounded(gaussian(8, 64, seed=seed), 32, 6) for seed in (1, 2)]
    x = gaussian(3, 64)
    actual, _ = run_lowered(
        tmp_path, lambda emit, x: nodes.linear(emit, "w", stacked(parts), x, None, shared=False), x
    )  # fmt: skip
    assert torch.allclose(actual, x @ torch.cat([part.dequantize() for part in parts]).T, atol=1e-4)
