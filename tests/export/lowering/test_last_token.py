"""The graph of the last token's logits: those of the other graph, of few families' heads and of padded batches."""

import json
from itertools import pairwise

import numpy as np
import onnxruntime
import pytest

from compress.checkpoint.model import Model
from compress.export.built.build import build
from compress.export.lowering.last_token import head_input
from compress.export.targets.base import find_target
from compress.onnx_names import CPU_PROVIDER, LAST_TOKEN_FILE, MODEL_FILE
from compress.passes.fuse import Fuse
from compress.progress import Silent

CLASSES = {
    "LlamaForCausalLM": {"tie_word_embeddings": True},  # a product
    "Gemma2ForCausalLM": {"final_logit_softcapping": 3.0, "head_dim": 16},  # and a bound behind it
    "CohereForCausalLM": {"logit_scale": 0.5},  # and a scale
}


def session_of(folder, file):
    return onnxruntime.InferenceSession(folder / file, providers=[CPU_PROVIDER])


def run(session, ids, mask, positions, cache):
    feeds = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    for node in session.get_inputs():
        if node.name not in feeds:
            empty = np.zeros((len(ids), node.shape[1], 0, node.shape[3]), np.float32)
            feeds[node.name] = cache.get(node.name.replace("past_key_values", "present"), empty)
    names = [node.name for node in session.get_outputs()]
    inputs = {node.name for node in session.get_inputs()}
    return dict(zip(names, session.run(None, {k: v for k, v in feeds.items() if k in inputs}), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", CLASSES)
def test_the_last_tokens_of_a_padded_batch(tiny, tmp_path, name, fused):
    """Read in parts, the last of one token; only a graph without the fused operator takes both paddings."""
    model = Model.open(tiny(name, **CLASSES[name]))
    find_target("ort-cpu").export(model, [Fuse()] if fused else [], tmp_path, Silent())
    full, last = (session_of(tmp_path, file) for file in (MODEL_FILE, LAST_TOKEN_FILE))
    assert next(node.shape for node in last.get_outputs() if node.name == "logits")[1] == 1
    config = json.loads((tmp_path / "genai_config.json").read_text())
    assert config["model"]["decoder"]["filename"] == LAST_TOKEN_FILE
    assert [file.name for file in tmp_path.glob("*.data*")] == ["model.onnx.data"]
    ids = np.random.default_rng(0).integers(3, 60, (3, 9))
    grouped = b"GroupQueryAttention" in (tmp_path / MODEL_FILE).read_bytes()
    for padded in ([0, 2, 4],) if grouped else ([0, 2, 4], [0, -1, -2]):
        mask = np.ones((3, 9), np.int64)
        for row, gap in enumerate(padded):
            mask[row, : max(gap, 0)] = mask[row, 9 + min(gap, 0) :] = 0
        positions = (mask.cumsum(1) - 1).clip(0)
        parts = [0, 8, 9] if grouped else [0, 5, 8, 9]  # the operator reads several prompts at once only
        caches, ends = ({}, {}), parts if min(padded) == 0 else [0, 9]
        for start, end in pairwise(ends):
            call = (ids[:, start:end], mask[:, :end], positions[:, start:end])
            caches = tuple(run(session, *call, cache) for session, cache in zip((full, last), caches, strict=True))
            for row in range(3):
                final = np.flatnonzero(mask[row, start:end])[-1:]
                if len(final):
                    expected = caches[0]["logits"][row, final]
                    np.testing.assert_allclose(caches[1]["logits"][row], expected, rtol=0, atol=1e-5)


def test_the_input_of_a_head(llama):
    model = Model.open(llama)
    graph = build(model.config, model.names, True, True).model
    name = head_input(graph)
    (reader, _), *more = next(value for node in graph.graph for value in node.outputs if value.name == name).uses()
    assert (reader.op_type, more) == ("MatMul", [])
    logits = next(output for output in graph.graph.outputs if output.name == "logits")
    logits.producer().outputs[0].name = "other"
    assert head_input(graph) is None
