"""Graphs for TensorRT: their numbers on ort-cpu, their integers byte by byte, and what would be refused there."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from onnx import numpy_helper

from compress.checkpoint.model import Model
from compress.errors import ExportError, MissingComponentError, UsageError
from compress.export.lowering.qdq import nibbles
from compress.export.targets.tensorrt import TensorRt
from compress.export.trt.lint import OPERATORS, lint_graph
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


def export(checkpoint, out, told=None):
    out.mkdir()
    artifact = TensorRt().export(checkpoint, (), out, told or Silent())
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
    assert [(each.domain, each.version) for each in graph.opset_import] == [("", 21)]
    with torch.inference_mode():
        expected = model.torch_module()(TOKENS)[0].numpy()
    assert np.abs(run(artifact.path, TOKENS) - expected).max() < 1e-3


@pytest.mark.parametrize(("pipeline", "bits"), [(INT4, 4), (f"{INT4}:group=channel", 4), (INT8, 8)])
def test_integers_lie_in_the_graph_as_they_are(untied, tmp_path, pipeline, bits):
    made = make_variant(untied, pipeline, TensorRt.capability, tmp_path / "v", TOKENS)
    artifact, graph = export(made, tmp_path / "a")
    stored = {each.name: each for each in graph.graph.initializer}
    nodes = [node for node in graph.graph.node if node.op_type == "DequantizeLinear"]
    seen = 0
    for node in nodes:
        assert len(node.input) == 2  # no zero point
        name = node.input[0].removesuffix(".codes")
        parts = name.split(".")
        names = [".".join([*parts[:-2], each, "weight"]) for each in parts[-2].split("+")]
        codes = torch.cat([made.weight(each).codes for each in names]).T
        scale = torch.cat([made.weight(each).scale for each in names]).T
        assert stored[node.input[0]].data_type == {4: onnx.TensorProto.INT4, 8: onnx.TensorProto.INT8}[bits]
        assert np.array_equal(numpy_helper.to_array(stored[node.input[0]]).astype(np.int8), codes.numpy())
        scales = numpy_helper.to_array(stored[node.input[1]])
        assert np.array_equal(scales, scale.numpy() if bits == 4 else scale.flatten().numpy())
        given = {each.name: each.i for each in node.attribute}
        group = made.weight(names[0]).group
        assert given == ({"axis": 0, "block_size": group} if bits == 4 else {"axis": 1})
        seen += len(names)
    assert seen == 14
    with torch.inference_mode():
        expected = made.torch_module()(TOKENS)[0].numpy()
    assert np.abs(run(artifact.path, TOKENS) - expected).max() < 1e-3


def test_the_first_of_two_codes_is_the_lower_half():
    assert nibbles(torch.tensor([[1, -2, 7], [-8, 0, 3]], dtype=torch.int8)).tolist() == [0xE1, 0x87, 0x30]
    assert nibbles(torch.tensor([5, -1, 2], dtype=torch.int8)).tolist() == [0xF5, 0x02]


@pytest.mark.parametrize(("pipeline", "kind"), [(f"fp16,{INT4}", "FLOAT16"), ("bf16", "BFLOAT16")])
def test_a_graph_in_16_bits_is_so_throughout(untied, tmp_path, pipeline, kind):
    told = Silent()
    _, graph = export(make_variant(untied, pipeline, TensorRt.capability, tmp_path / "v", TOKENS), tmp_path / "a", told)
    wanted, exact = getattr(onnx.TensorProto, kind), onnx.TensorProto.FLOAT
    integers = (onnx.TensorProto.INT64, onnx.TensorProto.INT4)
    for value in (*graph.graph.input, *graph.graph.output):
        assert value.type.tensor_type.elem_type in (wanted, onnx.TensorProto.INT64)
    for each in graph.graph.initializer:
        assert each.data_type in integers or each.data_type == (exact if each.name.endswith(".exact") else wanted)
    casts = Counter(
        n.name.endswith(".exact") for n in graph.graph.node for a in n.attribute if a.name == "to" and a.i == exact
    )
    assert casts == {True: 5}  # the norms' squares
    note = "ort-cpu can't run bfloat16: a float32 twin of the graph was verified in its place"
    assert told.notices == ([note] if kind == "BFLOAT16" else [])


def test_products_stay_products(untied, tmp_path):
    made = make_variant(untied, "lowrank:rank=0.4:whiten=off", TensorRt.capability, tmp_path / "v", TOKENS)
    artifact, graph = export(made, tmp_path / "a")
    assert artifact.products
    plain = export(Model.open(str(untied)), tmp_path / "b")[1]
    counts = [Counter(node.op_type for node in each.graph.node)["MatMul"] for each in (graph, plain)]
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


def test_the_command_names_shapes_to_read_with_and_to_go_on_with(tiny, tmp_path):
    artifact, _ = export(Model.open(str(tiny("LlamaForCausalLM", num_hidden_layers=1))), tmp_path / "a")
    cache = "past_key_values.0.{}:{}"

    def shapes(batch, new, old):
        past = [cache.format(part, f"{batch}x2x{old}x16") for part in ("key", "value")]
        return ",".join(
            [f"input_ids:{batch}x{new}", f"attention_mask:{batch}x{new + old}", f"position_ids:{batch}x{new}", *past]
        )

    assert (artifact.path / "build.sh").read_text().splitlines() == [
        "#!/usr/bin/env bash",
        "set -euo pipefail",
        'cd "$(dirname "$0")"',
        "trtexec \\",
        "  --onnx=model.onnx \\",
        "  --saveEngine=engine.plan \\",
        "  --timingCacheFile=timing.cache \\",
        "  --skipInference \\",
        "  --profile=0 \\",
        f"  --minShapes={shapes(1, 1, 0)} \\",
        f"  --optShapes={shapes(1, 64, 0)} \\",
        f"  --maxShapes={shapes(16, 128, 0)} \\",
        "  --profile=1 \\",
        f"  --minShapes={shapes(1, 1, 1)} \\",
        f"  --optShapes={shapes(1, 1, 64)} \\",
        f"  --maxShapes={shapes(16, 1, 127)}",
    ]
    assert (artifact.path / "build.sh").stat().st_mode & 0o111


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


def dequantized(
    codes="INT4", scale=np.float32, zero=None, block=32, rows=64, scales=2, domain="", op="DequantizeLinear"
):
    """A graph of one product with integers, so that one thing at a time can be wrong with it."""
    stored = np.zeros((rows, 8), np.int8)
    stored = ir.tensor(stored if codes == "INT8" else stored.astype(ir.DataType[codes].numpy()), name="codes")
    inputs = [
        ir.Value(name="codes", type=ir.TensorType(stored.dtype), const_value=stored),
        ir.Value(name="scale", const_value=ir.tensor(np.ones((scales, 8), scale), name="scale")),
    ]
    inputs[1].type = ir.TensorType(inputs[1].const_value.dtype)
    if zero is not None:
        inputs.append(ir.Value(name="zero", const_value=ir.tensor(np.full((scales, 8), zero, np.int8), name="zero")))
    attributes = ir.convenience.convert_attributes({"axis": 0, **({"block_size": block} if block else {})})
    node = ir.Node(domain, op, inputs, attributes, num_outputs=1, name="dq")
    graph = ir.Graph([], node.outputs, nodes=[node], initializers=inputs, opset_imports={"": 21}, name="g")
    return ir.Model(graph, ir_version=10)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"zero": 1}, "its zero point has to be 0"),
        ({"scale": np.float16}, "its scale is FLOAT16, in a graph of FLOAT"),
        ({"block": 24}, "blocks of 24 don't divide the 64 inputs"),
        ({"scales": 1}, "1 scales for 2 blocks"),
        ({"block": 0}, "4 bits come in blocks"),
        ({"codes": "UINT4"}, "integers of 8 or 4 bits with a sign are needed, not UINT4"),
        ({"domain": "com.microsoft", "op": "MatMulNBits"}, "TensorRT has no operator com.microsoft::MatMulNBits"),
        ({"op": "DynamicQuantizeLinear"}, "TensorRT has no operator ::DynamicQuantizeLinear"),
    ],
)
def test_lints_name_what_would_be_refused(wrong, message):
    lint_graph(dequantized(), ir.DataType.FLOAT)
    lint_graph(dequantized(codes="INT8", zero=0), ir.DataType.FLOAT)
    with pytest.raises(ExportError, match=message):
        lint_graph(dequantized(**wrong), ir.DataType.FLOAT)


def test_lints_look_at_opsets_types_and_constants():
    model = dequantized()
    model.opset_imports[""] = 24
    with pytest.raises(ExportError, match="standard operators up to opset 21"):
        lint_graph(model, ir.DataType.FLOAT)
    model = dequantized()
    model.graph.outputs[0].type = ir.TensorType(ir.DataType.FLOAT16)
    with pytest.raises(ExportError, match="is FLOAT16, in a graph of FLOAT"):
        lint_graph(model, ir.DataType.FLOAT)
    model = dequantized()
    next(iter(model.graph)).inputs[0].const_value = None
    with pytest.raises(ExportError, match="integers and scales have to be constant"):
        lint_graph(model, ir.DataType.FLOAT)


def test_without_a_gpu_there_is_no_engine(untied, tmp_path, monkeypatch):
    monkeypatch.setattr("compress.export.trt.build.find_spec", lambda name: None)
    model = Model.open(str(untied))
    artifact, _ = export(model, tmp_path / "a")
    with pytest.raises(MissingComponentError, match=r"no engine was built: .*'compress-models\[gpu\]'; .* is written"):
        TensorRt().complete(model, artifact.path)
    assert not (artifact.path / "engine.plan").exists()
