"""Lowering where weights of one operator are stored in different ways, and what it refuses."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from compress.checkpoint.model import Model
from compress.errors import ExportError
from compress.export.lowering import block_packing as packing
from compress.export.targets.base import find_target
from compress.passes.fuse import Fuse
from compress.passes.solvers.pivots import pivoted_product
from compress.progress import Silent
from compress.weights.forms import Dense, Factored, Masked, Residual
from tests.support.tensors import token_ids

TOKENS = token_ids(2, 16)


class StoredModel:
    """A model whose matrices are stored as ``form(name, tensor)``."""

    def __init__(self, path, form):
        self.model, self.form = Model.open(str(path)), form

    def __getattr__(self, name):
        return getattr(self.model, name)

    def weight(self, name):
        return self.form(name, self.model.tensor(name))

    def torch_module(self):
        module = self.model.torch_module()
        state = module.state_dict()
        with torch.no_grad():
            for name in self.names:
                if state[name].dim() == 2:
                    state[name].copy_(self.weight(name).dequantize())
        return module


def export(path, form, out, graph="auto"):
    out.mkdir()
    return find_target("ort-cpu").with_graph(graph).export(StoredModel(path, form), [Fuse()], out, Silent())


def operators(artifact):
    graph = onnx.load(artifact.path / "model.onnx", load_external_data=False).graph
    return Counter(node.op_type for node in graph.node)


def logits(artifact):
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_prepacking", "1")  # then MatMulNBits computes in float
    session = ort.InferenceSession(artifact.path / "model.onnx", options, providers=["CPUExecutionProvider"])
    feed = {"input_ids": TOKENS.numpy(), "attention_mask": np.ones_like(TOKENS.numpy())}
    for node in session.get_inputs():
        if node.name not in feed:
            feed[node.name] = np.zeros((2, node.shape[1], 0, node.shape[3]), np.float32)
    return session.run(["logits"], feed)[0]


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"])
def test_parts_of_a_packed_product_that_are_stored_differently_stay_apart(tiny, tmp_path, rounded, name):
    """Each feeds what took its part of the whole; none is laid beside the others only to be cut off again."""
    widths = {"q_proj": 4, "k_proj": 8, "v_proj": 4, "gate_proj": 2, "up_proj": 8}

    def form(name, tensor):
        bits = widths.get(name.split(".")[-2])
        return rounded(tensor, 32, bits, zero="v_proj" in name) if bits else Dense(tensor)

    artifact = export(tiny(name), form, tmp_path / "a")
    together = export(tiny(name), lambda name, tensor: Dense(tensor), tmp_path / "b")
    actual = operators(artifact)
    assert actual["MatMulNBits"] == 2 * 5
    assert actual["Split"] == 0
    assert actual["Concat"] == operators(together)["Concat"]
    assert actual["Add"] == operators(together)["Add"] - (2 if name == "Qwen2ForCausalLM" else 0)  # biases went inside
    expected = StoredModel(tiny(name), form).torch_module()(TOKENS).logits.detach().numpy()
    assert np.abs(logits(artifact) - expected).max() < 1e-3


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
def test_integers_of_every_width_and_group_are_multiplied_and_looked_up(tiny, tmp_path, rounded, bits, zero):
    groups = {"q_proj": 32, "k_proj": 32, "v_proj": 32, "o_proj": 64, "gate_proj": 128, "up_proj": 128}

    def form(name, tensor):
        return rounded(tensor, 64 if "embed" in name else groups.get(name.split(".")[-2]), bits, zero)

    path = tiny("LlamaForCausalLM", tie_word_embeddings=True, hidden_size=128, intermediate_size=192)
    artifact = export(path, form, tmp_path / "a")
    actual = operators(artifact)
    assert (actual["MatMulNBits"], actual["GatherBlockQuantized"]) == (2 * 4 + 1, 1)
    assert actual["MatMul"] == 0
    expected = StoredModel(path, form).torch_module()(TOKENS).logits.detach().numpy()
    assert np.abs(logits(artifact) - expected).max() < 1e-3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_scales_are_stored_as_they_are_and_cast_once(tiny, tmp_path, rounded, bits, dtype):
    """The runtime casts them as it loads the graph; those of the tied embedding and head are one. float32: old ones."""

    def form(name, tensor):
        weight = rounded(tensor, 32, bits)
        return replace(weight, scale=weight.scale.to(dtype))

    path = tiny("LlamaForCausalLM", tie_word_embeddings=True)
    artifact = export(path, form, tmp_path / "a")
    onnx.checker.check_model(artifact.path / "model.onnx")
    graph = onnx.load(artifact.path / "model.onnx", load_external_data=False).graph
    scales = {tensor.name: tensor.data_type for tensor in graph.initializer if tensor.name.endswith(".scales")}
    types = {torch.float16: 10, torch.bfloat16: 16, torch.float32: 1}
    assert set(scales.values()) == {types[dtype]}
    casts = [node.input[0] for node in graph.node if node.op_type == "Cast" and node.input[0] in scales]
    assert sorted(casts) == (sorted(scales) if dtype != torch.float32 else [])
    codes = sum(np.prod(tensor.dims) for tensor in graph.initializer if tensor.name.endswith(".codes"))
    count = sum(np.prod(tensor.dims) for tensor in graph.initializer if tensor.name in scales)
    assert count * 32 == codes * 8 // bits
    assert artifact.read_bytes - artifact.stored_bytes == (4 - dtype.itemsize) * count  # memory has them in float32
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    ort.InferenceSession(artifact.path / "model.onnx", options, providers=["CPUExecutionProvider"])
    loaded = onnx.load(tmp_path / "loaded.onnx", load_external_data=False).graph
    constants = {tensor.name: tensor.data_type for tensor in loaded.initializer}
    readers = [node for node in loaded.node if node.op_type in ("MatMulNBits", "GatherBlockQuantized")]
    assert len(readers) == 2 * 4 + 2
    assert {constants[name] for node in readers for name in node.input if ".scales" in name} == {1}
    expected = StoredModel(path, form).torch_module()(TOKENS).logits.detach().numpy()
    assert np.abs(logits(artifact) - expected).max() < 1e-3


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_tied_matrix_whose_width_no_block_divides_is_still_stored_once(tiny, tmp_path, rounded, bits):
    path = tiny("LlamaForCausalLM", tie_word_embeddings=True, hidden_size=72, head_dim=16)
    artifact = export(path, lambda name, tensor: rounded(tensor, None, bits, zero=bits == 4), tmp_path / "a")
    graph = onnx.load(artifact.path / "model.onnx", load_external_data=False).graph
    where = {
        tensor.name: {entry.key: entry.value for entry in tensor.external_data}["offset"]
        for tensor in graph.initializer
        if tensor.name.startswith("model.embed_tokens.weight.codes")
    }
    assert len(where) == 2
    assert len(set(where.values())) == 1
    assert operators(artifact)["Slice"] == 1


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("part", ["_proj", "embed"])
def test_a_wrong_layout_does_not_pass_the_gate(untied, tmp_path, rounded, monkeypatch, bits, part):
    def form(name, tensor):
        return rounded(tensor, 32, bits) if part in name else Dense(tensor)

    export(untied, form, tmp_path / "right")
    packed = packing._packed

    def highest_bits_first(codes, bits):
        return packed(codes.unflatten(1, (-1, 8 // bits)).flip(2).flatten(1), bits)

    monkeypatch.setattr(packing, "_packed", highest_bits_first)
    with pytest.raises(ExportError, match="differs from torch in logits"):
        export(untied, form, tmp_path / "wrong", "built")


def test_inputs_are_rounded_token_by_token(llama, tmp_path, rounded):
    """One token's large values, which here come from its embedding, must not cost the others their precision."""
    artifact = export(llama, lambda name, tensor: rounded(tensor, None, act="dynamic"), tmp_path / "a")
    actual = operators(artifact)
    assert actual["DynamicQuantizeMatMul"] == actual["ReduceMax"] == 2 * 4
    assert actual["MatMulNBits"] == 1  # the head, which shares its bytes with the embedding


def halves(tensor):
    """A product of half the rank."""
    u, s, v = torch.linalg.svd(tensor, full_matrices=False)
    rank = len(s) // 2
    return (u[:, :rank] * s[:rank]).contiguous(), v[:rank].contiguous()


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "Qwen2ForCausalLM", "BertModel"])
@pytest.mark.parametrize("fused", [True, False])
def test_products_and_repaired_matrices_are_multiplied_part_by_part(tiny, tmp_path, rounded, name, fused):
    """Also where their neighbors in a packed product are stored in other ways, and where there are biases."""

    def form(name, tensor):
        part, (left, right) = name.split(".")[-2], halves(tensor) if tensor.ndim == 2 else (None, None)
        if part in ("q_proj", "query"):
            return Factored(Dense(left), Dense(right))
        if part == "down_proj":
            return pivoted_product(left.double(), right.double(), torch.float32)
        if part in ("v_proj", "value"):
            return Factored(rounded(left, None, 8), rounded(right, 32, 4, zero=True))
        if part in ("o_proj", "up_proj", "dense"):
            return Residual(rounded(tensor, 32, 4), Factored(Dense(0.01 * left), Dense(right.half())))
        return Masked(tensor, tensor != 0) if part == "k_proj" else Dense(tensor)

    path, out = tiny(name), tmp_path / "a"
    out.mkdir()
    artifact = find_target("ort-cpu").export(StoredModel(path, form), [Fuse()] if fused else [], out, Silent())
    actual = operators(artifact)
    assert (artifact.zeros, artifact.products) == ("Bert" not in name, True)
    assert actual["MatMulNBits"] == 2 * (4 if "Bert" not in name else 5)
    assert artifact.parameters == StoredModel(path, form).model.parameters


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "Qwen2ForCausalLM"])
def test_pivoted_products_of_one_input_are_gathered_once(tiny, tmp_path, name):
    """Four right factors a layer and seven left ones; biases come behind the order."""

    def form(name, tensor):
        if "_proj.weight" not in name:
            return Dense(tensor)
        return pivoted_product(*(factor.double() for factor in halves(tensor)), torch.float32)

    artifact = export(tiny(name), form, tmp_path / "a")
    graph = onnx.load(artifact.path / "model.onnx", load_external_data=False).graph
    assert operators(artifact)["MatMul"] == 2 * (4 + 7) + 1
    assert sum(node.op_type == "Gather" and node.input[0].endswith(".together") for node in graph.node) == 2 * 4
    assert artifact.products


"""A pooler's weights, which no graph has."""


def beyond(weight):
    """The same with codes to ±127."""
    return replace(weight, codes=weight.codes * 2)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (lambda tensor, rounded: rounded(tensor, 16, act="dynamic"), "one scale a channel"),
        (lambda tensor, rounded: beyond(rounded(tensor, None, act="dynamic")), "codes beyond ±64 would saturate"),
        (lambda tensor, rounded: rounded(tensor, 32, 5), "weights of 2, 3, 4, 6 or 8 bits, not 5"),
    ],
)
def test_what_would_be_wrong_or_is_not_written_is_refused(untied, tmp_path, rounded, form, message):
    def linears(name, tensor):
        return form(tensor, rounded) if "_proj" in name else Dense(tensor)

    with pytest.raises(ExportError, match=message):
        export(untied, linears, tmp_path / "a")
