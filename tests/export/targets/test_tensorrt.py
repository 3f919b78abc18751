"""Graphs for TensorRT: their numbers on ort-cpu, their integers byte by byte, and what would be refused there."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import numpy_helper

from compress.checkpoint.model import Model
from compress.errors import UsageError
from compress.export.targets.tensorrt import TensorRt
from compress.export.trt.lint import OPERATORS
from compress.pipeline.parse import Pipeline
from compress.pipeline.predict import ConfigOnlyModel, predict
from compress.progress import Silent
from tests.support.passes import make_variant
from tests.support.tensors import token_ids

TOKENS = token_ids(2, 24)
FAMILIES = [
    "LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM",
    "BertModel", "RobertaModel", "DistilBertModel",
]  # fmt: skip
INT4 = "int4:solver=rtn:head=float:embed=float"
INT8 = "int8:group=channel:act=none:head=float:embed=float"


def export(checkpoint, out, progress=None):
    out.mkdir()
    artifact = TensorRt().export(checkpoint, (), out, progress or Silent())
    graph = onnx.load(artifact.path / "model.onnx")
    onnx.checker.check_model(str(artifact.path / "model.onnx"), full_check=True)
    return artifact, graph


def run(folder, ids):
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_prepacking", "1")  # blocks become MatMulNBits, then in float
    session = ort.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    feed = {}
    for node in session.get_inputs():
        match node.name:
            case "input_ids":
                feed[node.name] = ids.numpy()
            case "attention_mask":
                feed[node.name] = np.ones(ids.shape, np.int64)
            case "position_ids":
                feed[node.name] = np.arange(ids.shape[1])[None].repeat(len(ids), 0)
            case "token_type_ids":
                feed[node.name] = np.zeros(ids.shape, np.int64)
            case _:
                feed[node.name] = np.zeros((len(ids), node.shape[1], 0, node.shape[3]), np.float32)
    return session.run(None, feed)[0]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_spelled_out_in_operators_that_it_has(tiny, tmp_path, name):
    model = Model.open(str(tiny(name, **({"sliding_window": 8} if name == "MistralForCausalLM" else {}))))
    artifact, graph = export(model, tmp_path / "a")
    assert {(node.domain, node.op_type) for node in graph.graph.node} <= {("", name) for name in OPERATORS}
    assert [(opset.domain, opset.version) for opset in graph.opset_import] == [("", 21)]
    with torch.inference_mode():
        expected = model.torch_module()(TOKENS)[0].numpy()
    assert np.abs(run(artifact.path, TOKENS) - expected).max() < 1e-3


HEADS = {"num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.1}
OWN_WAYS = {
    "BloomForCausalLM": {**HEADS, "hidden_size": 128},
    "MptForCausalLM": {"d_model": 128, "n_heads": 2, "n_layers": 2, "initializer_range": 0.1},
    "Gemma3ForCausalLM": {
        **HEADS, "hidden_size": 128, "intermediate_size": 192, "head_dim": 64, "num_key_value_heads": 1,
        "max_position_embeddings": 128, "sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"],
    },
    "Gemma2ForCausalLM": {
        "vocab_size": 322, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 16,
        "num_key_value_heads": 2, "intermediate_size": 96, "sliding_window": 8, "attn_logit_softcapping": 2.0,
        "query_pre_attn_scalar": 1, "initializer_range": 0.2,
    },
}  # fmt: skip
"""Attention with biases by distance, with two rotations and windows, or with capped scores."""


@pytest.mark.parametrize("name", OWN_WAYS)
def test_attention_of_a_familys_own_makes_a_valid_graph(random_model, tmp_path, name):
    model = Model.open(str(random_model(name, **OWN_WAYS[name])))
    artifact, graph = export(model, tmp_path / "a")
    assert {(node.domain, node.op_type) for node in graph.graph.node} <= {("", name) for name in OPERATORS}
    with torch.inference_mode():
        expected = model.torch_module()(TOKENS)[0].numpy()
    assert np.abs(run(artifact.path, TOKENS) - expected).max() < 1e-3 * max(1, np.abs(expected).max())


@pytest.mark.parametrize(("pipeline", "bits"), [(INT4, 4), (f"{INT4}:group=channel", 4), (INT8, 8)])
def test_integers_lie_in_the_graph_as_they_are(untied, tmp_path, pipeline, bits):
    variant = make_variant(untied, pipeline, TensorRt.capability, tmp_path / "v", TOKENS)
    artifact, graph = export(variant, tmp_path / "a")
    stored = {initializer.name: initializer for initializer in graph.graph.initializer}
    nodes = [node for node in graph.graph.node if node.op_type == "DequantizeLinear"]
    count = 0
    for node in nodes:
        assert len(node.input) == 2  # no zero point
        name = node.input[0].removesuffix(".codes")
        parts = name.split(".")
        names = [".".join([*parts[:-2], initializer, "weight"]) for initializer in parts[-2].split("+")]
        codes = torch.cat([variant.weight(initializer).codes for initializer in names]).T
        scale = torch.cat([variant.weight(initializer).scale for initializer in names]).T
        assert stored[node.input[0]].data_type == {4: onnx.TensorProto.INT4, 8: onnx.TensorProto.INT8}[bits]
        assert np.array_equal(numpy_helper.to_array(stored[node.input[0]]).astype(np.int8), codes.numpy())
        scales = numpy_helper.to_array(stored[node.input[1]])
        assert np.array_equal(scales, scale.numpy() if bits == 4 else scale.flatten().numpy())
        attributes = {initializer.name: initializer.i for initializer in node.attribute}
        group = variant.weight(names[0]).group
        assert attributes == ({"axis": 0, "block_size": group} if bits == 4 else {"axis": 1})
        count += len(names)
    assert count == 14
    with torch.inference_mode():
        expected = variant.torch_module()(TOKENS)[0].numpy()
    assert np.abs(run(artifact.path, TOKENS) - expected).max() < 1e-3


@pytest.mark.parametrize(("pipeline", "dtype"), [(f"fp16,{INT4}", "FLOAT16"), ("bf16", "BFLOAT16")])
def test_a_graph_in_16_bits_is_so_throughout(untied, tmp_path, pipeline, dtype):
    progress = Silent()
    _, graph = export(
        make_variant(untied, pipeline, TensorRt.capability, tmp_path / "v", TOKENS), tmp_path / "a", progress
    )
    element_type, exact = getattr(onnx.TensorProto, dtype), onnx.TensorProto.FLOAT
    integers = (onnx.TensorProto.INT64, onnx.TensorProto.INT4)
    for value in (*graph.graph.input, *graph.graph.output):
        assert value.type.tensor_type.elem_type in (element_type, onnx.TensorProto.INT64)
    for initializer in graph.graph.initializer:
        assert initializer.data_type in integers or initializer.data_type == (
            exact if initializer.name.endswith(".exact") else element_type
        )
    casts = Counter(
        n.name.endswith(".exact") for n in graph.graph.node for a in n.attribute if a.name == "to" and a.i == exact
    )
    assert casts == {True: 5}  # the norms' squares
    note = "ort-cpu can't run bfloat16: the graph was verified in float32, on the numbers of its file"
    assert progress.notices == ([note] if dtype == "BFLOAT16" else [])


def test_products_stay_products(untied, tmp_path):
    variant = make_variant(untied, "lowrank:rank=0.4:whiten=off", TensorRt.capability, tmp_path / "v", TOKENS)
    artifact, graph = export(variant, tmp_path / "a")
    assert artifact.products
    plain = export(Model.open(str(untied)), tmp_path / "b")[1]
    counts = [Counter(node.op_type for node in proto.graph.node)["MatMul"] for proto in (graph, plain)]
    assert counts[0] > counts[1]


@pytest.mark.parametrize(
    ("pipeline", "sparse"),
    [
        ("sparse24:solver=magnitude:refine=off", True),
        (f"sparse24:solver=magnitude:refine=off,{INT4}", True),
        ("sparse:ratio=0.5:solver=magnitude:refine=off", False),
        (INT4, False),
    ],
)
def test_sparsity_is_enabled_where_the_zeros_are_two_in_four(untied, tmp_path, pipeline, sparse):
    artifact, _ = export(make_variant(untied, pipeline, TensorRt.capability, tmp_path / "v", TOKENS), tmp_path / "a")
    script = (artifact.path / "build.sh").read_text()
    assert ("--sparsity=enable" in script) == sparse
    assert "force" not in script
    assert artifact.zeros == ("ratio" in pipeline)  # zeros that gain nothing


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("int4", "embeddings in integers .*embed_tokens.*; give embed=float"),
        (f"{INT4}:asym", "zero points .*; give symmetry=sym"),
        ("int8:head=float:embed=float", "8 bits in groups .*; give group=channel, and head=float"),
        (
            "int8:act=dynamic:head=float:embed=float",
            "inputs that are rounded as they come .*; give act=none",
        ),
        ("int3:head=float:embed=float", "can't hold 3 bits"),
        (INT4, None),
        (INT8, None),
        ("int4:solver=rtn:head=int4:embed=float", None),
    ],
)
def test_what_it_cannot_hold_is_refused_with_the_fix(untied, pipeline, message):
    model, every = Model.open(str(untied)), replace(TensorRt.capability, bits=frozenset(range(2, 9)), any_inputs=True)
    weights = predict(ConfigOnlyModel(model.architecture), Pipeline.parse(pipeline), every).weights
    if message is None:
        TensorRt().check_weights(model.architecture, weights)
        return
    with pytest.raises(UsageError, match=message):
        TensorRt().check_weights(model.architecture, weights)
