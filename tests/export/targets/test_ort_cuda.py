"""Graphs for onnxruntime on a GPU: what they hold, and their numbers, which ort-cpu can tell."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto

from compress.benchmarks.engines.ort_cpu import OrtCpuEngine
from compress.checkpoint.model import Model
from compress.errors import MissingComponentError, UsageError
from compress.export.targets.ort_cuda import OrtCuda
from compress.modeling.kinds import DECODER, IMAGE_CLASSIFIER
from compress.onnx_names import CUDA_PROVIDER
from compress.passes.fuse import Fuse
from compress.pipeline.parse import Pipeline
from compress.progress import Silent
from compress.weights.stored import StoredForm
from tests.support.passes import make_variant
from tests.support.tensors import token_ids

TOKENS = token_ids(2, 24)
FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16}


def exported(path, pipeline, out):
    """A variant's graph, its directory beside it."""
    passes = Pipeline.parse(pipeline)
    variant = make_variant(path, passes, OrtCuda.capability, out / "variant", TOKENS)
    (out / "graph").mkdir()
    artifact = OrtCuda().export(variant, passes.graph_passes, out / "graph", Silent())
    return artifact, onnx.load(artifact.path / "model.onnx")


def floats(graph):
    """Types of all floating-point inputs, outputs and stored tensors."""
    values = {value.type.tensor_type.elem_type for value in (*graph.graph.input, *graph.graph.output)}
    return (values | {value.data_type for value in graph.graph.initializer}) & FLOATS


@pytest.mark.parametrize(("pipeline", "dtype"), [
    ("fuse", TensorProto.FLOAT16), ("fp16", TensorProto.FLOAT16), ("int8,fuse", TensorProto.FLOAT16),
    ("int4:solver=rtn:head=int8", TensorProto.FLOAT16), ("bf16,fuse", TensorProto.BFLOAT16),
    ("lowrank:rank=0.5,fuse", TensorProto.FLOAT16),
])  # fmt: skip
def test_a_graph_is_in_16_bits_throughout(untied, tmp_path, pipeline, dtype):
    artifact, graph = exported(untied, pipeline, tmp_path)
    assert floats(graph) == {dtype}
    assert artifact.target == "ort-cuda"


def test_decoders_say_what_torch_says_and_each_layer_has_one_attention(untied, tmp_path):
    artifact, graph = exported(untied, "fuse", tmp_path)
    layers = Model.open(str(untied)).config.num_hidden_layers
    assert Counter(node.op_type for node in graph.graph.node)["GroupQueryAttention"] == layers
    with torch.inference_mode():
        expected = Model.open(str(untied)).torch_module()(TOKENS[:1]).logits[0].numpy()
    assert OrtCpuEngine(artifact.path, DECODER, 1).logits(TOKENS[0].numpy()) == pytest.approx(expected, abs=2e-2)


def test_biases_by_distance_pass_the_gate_in_16_bits(random_model, tmp_path):
    """MPT's graph has biases that a cast to float16 has to keep finite; the gate compares it with torch."""
    path = random_model("MptForCausalLM", d_model=128, n_heads=2, n_layers=2, initializer_range=0.1)
    artifact = OrtCuda().export(Model.open(str(path)), [Fuse()], tmp_path, Silent())
    graph = onnx.load(artifact.path / "model.onnx")
    assert floats(graph) == {TensorProto.FLOAT16}
    assert Counter(node.op_type for node in graph.graph.node)["GroupQueryAttention"] == 2


def test_columns_of_a_mask_beyond_the_text_count_for_nothing(untied, tmp_path):
    artifact, _ = exported(untied, "fuse", tmp_path)
    session = ort.InferenceSession(artifact.path / "model.onnx", providers=["CPUExecutionProvider"])
    empty = {
        value.name: np.zeros((1, value.shape[1], 40, value.shape[3]), np.float16)
        for value in session.get_inputs()
        if value.name.startswith("past_")
    }
    mask = np.zeros((1, 40), np.int64)
    mask[0, 0] = 1
    inputs = {"input_ids": TOKENS[:1, :1].numpy(), "attention_mask": mask, "position_ids": np.zeros((1, 1), np.int64)}
    names = {value.name for value in session.get_inputs()}
    logits, first, *_ = session.run(None, {k: v for k, v in (inputs | empty).items() if k in names})
    assert np.abs(first[0, :, 0]).max() > 0  # the one token's keys lie at the front
    assert not first[0, :, 1:].any()
    expected = OrtCpuEngine(artifact.path, DECODER, 1).logits(TOKENS[0, :1].numpy())
    assert logits[0].astype(np.float32) == pytest.approx(expected, abs=2e-2)


def test_encoders_keep_their_inputs_in_float_where_int8_leaves_it_open(bert, tmp_path):
    _, graph = exported(bert, "int8,fuse", tmp_path)
    operators = {node.op_type for node in graph.graph.node}
    assert "MatMulNBits" in operators
    assert not operators & {"DynamicQuantizeMatMul", "DynamicQuantizeLinear"}


def test_what_cuda_has_no_operator_for_is_refused(untied):
    model = Model.open(str(untied))
    with pytest.raises(UsageError, match="ort-cuda has no products that round their inputs; give act=none"):
        Pipeline.parse("int8:act=dynamic").passes[0].resolve(model, OrtCuda.capability)
    with pytest.raises(UsageError, match="ort-cuda holds integers of 4 (and|or) 8 bits, not 2"):
        Pipeline.parse("int2").passes[0].resolve(model, OrtCuda.capability)
    with pytest.raises(UsageError, match="leave out kv=int8"):
        OrtCuda().check([Fuse(kv="int8")])
    rounded = StoredForm(form="quantized", shape=(64, 64), nbytes=4352, bits=8, group=64, symmetric=True, act="dynamic")
    with pytest.raises(UsageError, match=r"inputs that are rounded as they come \(a\); give act=none"):
        OrtCuda().check_weights(model.architecture, {"a": rounded})


@pytest.mark.skipif(CUDA_PROVIDER in ort.get_available_providers(), reason="there is one")
def test_without_a_gpu_the_graph_stays(untied, tmp_path):
    model = Model.open(str(untied))
    with pytest.raises(MissingComponentError, match=r"is written, but runs only on an NVIDIA GPU .*\[gpu\]'"):
        OrtCuda().complete(model, tmp_path)


@pytest.mark.slow
def test_images_come_in_as_halves_too(tiny, tmp_path):
    path = tiny("ViTForImageClassification", image_size=48, patch_size=16, num_labels=7)
    artifact = OrtCuda().export(Model.open(str(path)), [Fuse()], tmp_path, Silent())
    assert floats(onnx.load(artifact.path / "model.onnx")) == {TensorProto.FLOAT16}
    pixels = np.random.default_rng(0).standard_normal((3, 3, 48, 48)).astype(np.float32)
    with torch.inference_mode():
        expected = Model.open(str(path)).torch_module()(torch.from_numpy(pixels)).logits.numpy()
    assert OrtCpuEngine(artifact.path, IMAGE_CLASSIFIER, 1).classify_images(pixels) == pytest.approx(expected, abs=2e-2)
