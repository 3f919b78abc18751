"""Lowering where weights of one operator are stored in different ways, and what it refuses."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from compress.errors import ExportError
from compress.export.target import find_target
from compress.model import Model
from compress.passes.fuse import Fuse
from compress.progress import Silent
from compress.weight import Dense, Factored, Quantized

TOKENS = torch.randint(3, 300, (2, 16), generator=torch.Generator().manual_seed(1))


def rounded(tensor, group, largest=127, act=None):
    rows, inputs = tensor.shape
    grouped = tensor.float().reshape(rows, -1, group or inputs)
    scale = grouped.abs().amax(-1) / largest
    codes = (grouped / scale[..., None]).round().to(torch.int8).reshape(rows, inputs)
    return Quantized(codes, scale, 8, group or inputs, None, act)


class Stored:
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


def export(path, form, out):
    out.mkdir()
    return find_target("ort-cpu").export(Stored(path, form), [Fuse()], out, Silent())


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


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "Qwen2ForCausalLM"])
def test_parts_of_a_packed_product_that_are_stored_differently_stay_apart(tiny, tmp_path, name):
    def form(name, tensor):
        if "q_proj" in name or "up_proj" in name:
            return rounded(tensor, 16)
        return rounded(tensor, 32) if "k_proj" in name else Dense(tensor)

    artifact = export(tiny(name), form, tmp_path / "a")
    found = operators(artifact)
    assert found["MatMulNBits"] == 2 * 3
    assert found["Concat"] >= 2 * 2
    expected = Stored(tiny(name), form).torch_module()(TOKENS).logits.detach().numpy()
    assert np.abs(logits(artifact) - expected).max() < 1e-3


def test_a_tied_matrix_whose_width_no_block_divides_is_still_stored_once(tiny, tmp_path):
    path = tiny("LlamaForCausalLM", tie_word_embeddings=True, hidden_size=72, head_dim=16)
    artifact = export(path, lambda name, tensor: rounded(tensor, None), tmp_path / "a")
    graph = onnx.load(artifact.path / "model.onnx", load_external_data=False).graph
    where = {
        tensor.name: {entry.key: entry.value for entry in tensor.external_data}["offset"]
        for tensor in graph.initializer
        if tensor.name.startswith("model.embed_tokens.weight.codes")
    }
    assert len(where) == 2
    assert len(set(where.values())) == 1
    assert operators(artifact)["Slice"] == 1


def test_inputs_are_rounded_token_by_token(llama, tmp_path):
    """One token's large values, which here come from its embedding, must not cost the others their precision."""
    artifact = export(llama, lambda name, tensor: rounded(tensor, None, 63, "dynamic"), tmp_path / "a")
    found = operators(artifact)
    assert found["DynamicQuantizeMatMul"] == found["ReduceMax"] == 2 * 4
    assert found["MatMulNBits"] == 1  # the head, which shares its bytes with the embedding


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (lambda name, tensor: rounded(tensor, 16, 63, "dynamic"), "one scale a channel"),
        (lambda name, tensor: rounded(tensor, None, 127, "dynamic"), "codes beyond ±64 would saturate"),
        (lambda name, tensor: Factored(Dense(tensor), Dense(torch.eye(tensor.shape[1]))), "can't hold Factored"),
    ],
)
def test_what_would_be_wrong_or_is_not_written_is_refused(untied, tmp_path, form, message):
    def linears(name, tensor):
        return form(name, tensor) if "_proj" in name else Dense(tensor)

    with pytest.raises(ExportError, match=message):
        export(untied, linears, tmp_path / "a")
