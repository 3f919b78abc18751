"""The bytes that MatMulNBits and GatherBlockQuantized read, against the runtime's own dequantization."""

import numpy as np
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from compress.errors import ExportError
from compress.export.lowering.block_packing import block_of, blocked
from compress.weights.forms import Quantized

SHAPES = [
    (8, 128, 32),
    (8, 192, 64),
    (8, 96, 96),
    (8, 100, 100),
    (8, 576, 576),
    (4, 128, 32),
    (4, 192, 64),
    (4, 256, 128),
    (4, 576, 576),
    (2, 128, 64),
    (2, 96, 32),
    (2, 576, 576),
    (6, 128, 32),
    (6, 100, 100),
    (3, 128, 32),
    (3, 192, 64),
    (3, 48, 16),
]


def quantized(bits, inputs, group, zero=False, rows=12):
    random = torch.Generator().manual_seed(bits + inputs)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1)
    codes = torch.randint(low, high, (rows, inputs), generator=random).to(torch.int8)
    scale = torch.rand(rows, inputs // group, generator=random) + 0.1
    zeros = torch.randint(low, high, scale.shape, generator=random).to(torch.int8) if zero else None
    return Quantized(codes, scale, bits, group, zeros)


def evaluate(node, inputs, arrays, out):
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(*inputs)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_prepacking", "1")  # then MatMulNBits computes in float
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {inputs[0]: out})[0]


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize(("bits", "inputs", "group"), SHAPES)
def test_matmulnbits_multiplies_with_dequantize(bits, inputs, group, zero):
    weight = quantized(bits, inputs, group, zero)
    packed = blocked(weight)
    arrays = {"b": packed.codes.numpy(), "s": packed.scales.numpy() * np.float32(packed.unit)}
    names = ["x", "b", "s"]
    if packed.zero_points is not None:
        arrays["z"] = packed.zero_points.numpy()
        names.append("z")
    node = helper.make_node(
        "MatMulNBits", names, ["y"], domain="com.microsoft", K=inputs, N=12, bits=packed.bits, block_size=packed.block
    )
    identity = np.eye(inputs, dtype=np.float32)
    theirs = evaluate(node, ("x", TensorProto.FLOAT, [inputs, inputs]), arrays, identity)
    assert np.allclose(theirs.T, weight.dequantize().numpy(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize(("inputs", "group"), [(128, 32), (192, 64), (256, 128), (96, 96), (96, 32)])
def test_gather_reads_the_same_bytes(bits, inputs, group, zero):
    weight = quantized(bits, inputs, group, zero)
    packed = blocked(weight)
    arrays = {"b": packed.codes.flatten(1).numpy(), "s": packed.scales.numpy()}
    names = ["b", "i", "s"]
    if packed.zero_points is not None:
        arrays["z"] = packed.zero_points.numpy()
        names.append("z")
    node = helper.make_node(
        "GatherBlockQuantized", names, ["y"], domain="com.microsoft",
        bits=bits, block_size=packed.block, gather_axis=0, quantize_axis=1,
    )  # fmt: skip
    theirs = evaluate(node, ("i", TensorProto.INT64, [3]), arrays, np.array([3, 0, 11]))
    assert np.array_equal(theirs, weight.dequantize().numpy()[[3, 0, 11]])


def test_blocks_are_the_largest_that_divide_the_group():
    expected = {(128, 128): 128, (128, 64): 64, (128, 32): 32, (576, 576): 64, (100, 100): 32}
    assert {shape: block_of(quantized(8, *shape)) for shape in expected} == expected
    with pytest.raises(ExportError, match="onnxruntime needs groups that 16 divides, not 24"):
        block_of(quantized(8, 48, 24))


def test_five_bits_are_refused():
    with pytest.raises(ExportError, match="2, 3, 4, 6 or 8 bits, not 5"):
        blocked(quantized(5, 64, 32))
