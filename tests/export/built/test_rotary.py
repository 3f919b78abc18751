"""Rotations of built graphs: transformers' own angles, at positions on both sides of where they change."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from onnx_ir.passes.common import RemoveUnusedNodesPass
from transformers import CohereConfig, LlamaConfig, Phi3Config
from transformers.models.cohere.modeling_cohere import CohereRotaryEmbedding
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.phi3.modeling_phi3 import Phi3RotaryEmbedding

from compress.checkpoint.model import Model
from compress.errors import ExportError
from compress.export.built.build import build
from compress.export.built.rotary import fix_rotations
from compress.export.lowering.weights import SlicedWeights
from compress.export.parity.verify import lower_and_verify
from compress.export.targets.base import find_target
from compress.graph.builder import GraphBuilder
from compress.passes.fuse import Fuse
from compress.progress import Silent
from tests.support.graphs import empty_graph, output, run

FLOAT, SIZE = ir.DataType.FLOAT, 16
SIZES = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1, "max_position_embeddings": 64}
SHORT, LONG = [1 + 0.05 * i for i in range(8)], [2 + 0.5 * i for i in range(8)]
LONGROPE = {
    "rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 32, "short_factor": SHORT,
    "long_factor": LONG,
}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.5}


def rotated_alone(config, rotary, positions):
    """What the graph's rotation makes of heads of ones, and what its angles make of them in torch: cos and sin."""
    graph = empty_graph(input_ids=ir.DataType.INT64, position_ids=ir.DataType.INT64, q=FLOAT)
    builder = GraphBuilder(graph)
    wrong = builder.constant(np.zeros((1, 1, SIZE // 2), np.float32), "none")
    pairs = int(isinstance(rotary, CohereRotaryEmbedding))
    rotated = builder.op("RotaryEmbedding", graph.inputs[2], wrong, wrong, num_heads=1, interleaved=pairs)
    attention = builder.op("Attention", rotated, rotated, rotated, q_num_heads=1, kv_num_heads=1)
    output(graph, rotated)
    builder.append()
    fix_rotations(graph, [attention.producer()], config, rotary)
    x = np.random.default_rng(0).normal(size=(1, len(positions), SIZE)).astype(np.float32)
    (actual,) = run(graph, input_ids=np.array([positions]), position_ids=np.array([positions]), q=x)
    cos, sin = (value.numpy() for value in rotary(torch.zeros(1), torch.tensor([positions])))
    x1, x2 = (x[..., ::2], x[..., 1::2]) if pairs else (x[..., : SIZE // 2], x[..., SIZE // 2 :])
    turned = np.stack([-x2, x1], -1).reshape(x.shape) if pairs else np.concatenate([-x2, x1], -1)
    return actual, x * cos + turned * sin


@pytest.mark.parametrize("config", [
    LlamaConfig(**SIZES), LlamaConfig(**SIZES, rope_parameters=YARN), LlamaConfig(**SIZES, rope_parameters=DYNAMIC),
    LlamaConfig(**SIZES, rope_parameters={**LONGROPE, "attention_factor": 1.5}),
    Phi3Config(**SIZES, rope_parameters=LONGROPE, original_max_position_embeddings=32, pad_token_id=0),
    CohereConfig(**SIZES),
])  # fmt: skip
@pytest.mark.parametrize("last", [5, 30, 31, 32, 33, 62, 63])
def test_angles_are_those_of_a_call(config, last):
    make = {Phi3Config: Phi3RotaryEmbedding, CohereConfig: CohereRotaryEmbedding}.get(
        type(config), LlamaRotaryEmbedding
    )
    actual, expected = rotated_alone(config, make(config), [0, 1, last])
    assert np.abs(actual - expected).max() < 1e-5


@pytest.mark.parametrize("last", [63, 64, 65, 200])
def test_dynamic_angles_have_no_end(last):
    """transformers widens them anew for every longer text."""
    config = LlamaConfig(**SIZES, rope_parameters=DYNAMIC)
    actual, expected = rotated_alone(config, LlamaRotaryEmbedding(config), [0, 40, last])
    assert np.abs(actual - expected).max() < 1e-4


KINDS = {
    "longrope": ("Phi3ForCausalLM", {"rope_parameters": LONGROPE, "original_max_position_embeddings": 32}),
    "longrope, part of a head, in a window": (
        "Phi3ForCausalLM",
        {
            "rope_parameters": {
                **LONGROPE, "partial_rotary_factor": 0.75, "short_factor": SHORT[:6], "long_factor": LONG[:6],
            },
            "original_max_position_embeddings": 32, "sliding_window": 20,
        },
    ),
    "longrope of experts": (
        "Qwen3MoeForCausalLM",
        {
            "rope_parameters": LONGROPE, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
            "head_dim": 16,
        },
    ),
    "dynamic": ("LlamaForCausalLM", {"rope_parameters": DYNAMIC}),
    "yarn": ("MistralForCausalLM", {"rope_parameters": {**YARN, "attention_factor": 1.2, "truncate": False}}),
    "24 of 96": (
        "GPTNeoXForCausalLM",
        {
            "hidden_size": 192, "num_attention_heads": 2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.25},
        },
    ),
    "heads of 120": ("LlamaForCausalLM", {"head_dim": 120}),
    "heads of 4": ("LlamaForCausalLM", {"head_dim": 4}),
    "heads of 24 with capped scores": ("Gemma2ForCausalLM", {"head_dim": 24, "sliding_window": 16}),
    "windows alone": (
        "Gemma3ForCausalLM",
        {"head_dim": 16, "sliding_window": 16, "layer_types": ["sliding_attention"] * 2},
    ),
    "linear in some layers": (
        "Gemma3ForCausalLM",
        {
            "head_dim": 16, "sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"],
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
                "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
            },
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_passes_the_gate_and_is_built(tiny, tmp_path, kind, fused):
    name, options = KINDS[kind]
    model, progress = Model.open(str(tiny(name, **options))), Silent()
    find_target("ort-cpu").export(model, [Fuse()] if fused else [], tmp_path, progress)
    assert progress.notices == []  # a graph that differs would be traced, and the user told


def verified(model, out, change):
    graph = build(model.config, model.names, fused=True)
    change(graph.model.graph)
    return lower_and_verify({"model.onnx": graph.model}, SlicedWeights(model, graph.rows), model, out, Silent())


def test_the_gate_sees_a_window_that_is_off_by_one(tiny, tmp_path):
    """Of a thousand keys one more is seen."""
    model = Model.open(str(tiny("MistralForCausalLM", sliding_window=1024, max_position_embeddings=2048)))

    def widen(graph):
        for node in graph:
            if node.op_type == "GroupQueryAttention":
                size = node.attributes["local_window_size"].as_int()
                node.attributes["local_window_size"] = ir.AttrInt64("local_window_size", size + 1)

    verified(model, tmp_path, lambda graph: None)
    with pytest.raises(ExportError, match=r"differs from torch in .* \(tokens 10\d\d to 10\d\d of a long text\)"):
        verified(model, tmp_path, widen)


def test_the_gate_sees_angles_that_change_a_token_late(tiny, tmp_path):
    model = Model.open(
        str(tiny("LlamaForCausalLM", rope_parameters={**LONGROPE, "original_max_position_embeddings": 99}))
    )

    def delay(graph):
        RemoveUnusedNodesPass()(ir.Model(graph, ir_version=11))
        (greater,) = [node for node in graph if node.op_type == "Greater"]
        greater.replace_input_with(1, GraphBuilder(graph).constant(99))

    with pytest.raises(ExportError, match=r"\(tokens 99 to 100 of a long text\)"):
        verified(model, tmp_path, delay)
