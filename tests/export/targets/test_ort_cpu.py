"""Exports against the torch model's own outputs, for every family, fused and not, in every form."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from compress.checkpoint.files.artifact import Artifact
from compress.checkpoint.model import Model
from compress.errors import ExportError
from compress.export.targets.base import find_target
from compress.export.targets.ort_cpu import OrtCpu
from compress.passes.fuse import Fuse
from compress.pipeline.contract import GraphPass
from compress.progress import Silent
from tests.support.passes import make_variant
from tests.support.tensors import token_ids

TOKENS = token_ids(4, 24)
DECODERS = ["LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"]
PIPELINES = ["int8:act=none", "int8:act=dynamic", "int8:act=none:group=channel", "fp16", "bf16,int8:act=none"]
ENCODERS = ["BertModel", "RobertaModel", "DistilBertModel"]


def export(checkpoint, out, fused=True, passes=None, graph="auto"):
    out.mkdir(parents=True)
    chosen = passes if passes is not None else ([Fuse()] if fused else [])
    return find_target("ort-cpu").with_graph(graph).export(checkpoint, chosen, out, Silent())


def operators(artifact):
    return onnx.load(artifact.path / "model.onnx", load_external_data=False).graph.node


def run(artifact, ids, mask=None, cache=None):
    """Outputs by name; ``cache`` are a run's outputs to go on from."""
    session = ort.InferenceSession(artifact.path / "model.onnx", providers=["CPUExecutionProvider"])
    past = next((v.shape[2] for k, v in (cache or {}).items() if k.startswith("present")), 0)
    mask = np.ones((ids.shape[0], past + ids.shape[1]), np.int64) if mask is None else mask.numpy()
    positions = (mask.cumsum(1) - 1).clip(0)[:, past:]
    feed = {"input_ids": ids.numpy(), "attention_mask": mask, "position_ids": positions}
    feed["token_type_ids"] = np.zeros_like(feed["input_ids"])
    inputs = {}
    for node in session.get_inputs():
        if node.name in feed:
            inputs[node.name] = feed[node.name]
        else:
            empty = np.zeros((ids.shape[0], node.shape[1], 0, node.shape[3]), np.float32)
            inputs[node.name] = (cache or {}).get(node.name.replace("past_key_values", "present"), empty)
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, inputs), strict=True))


def reference(module, ids, mask=None):
    mask = torch.ones_like(ids) if mask is None else mask
    with torch.no_grad():
        return module(input_ids=ids, attention_mask=mask)[0].numpy()


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_says_what_torch_says(tiny, tmp_path, name, fused):
    model = Model.open(str(tiny(name, tie_word_embeddings=name != "MistralForCausalLM")))
    artifact = export(model, tmp_path / "a", fused)
    expected = reference(model.torch_module(), TOKENS)
    assert np.abs(run(artifact, TOKENS)["logits"] - expected).max() < 1e-3
    outputs = run(artifact, TOKENS[:, :20])
    for i in range(20, 24):
        outputs = run(artifact, TOKENS[:, i : i + 1], cache=outputs)
        assert np.abs(outputs["logits"] - expected[:, i : i + 1]).max() < 1e-3
    assert artifact.parameters == model.parameters


@pytest.mark.parametrize("fused", [True, False])
def test_left_padding_changes_nothing(llama, tmp_path, fused):
    model = Model.open(str(llama))
    artifact = export(model, tmp_path / "a", fused)
    mask = torch.ones_like(TOKENS)
    mask[1, :7] = 0
    expected = reference(model.torch_module(), TOKENS[1:2, 7:])
    assert np.abs(run(artifact, TOKENS, mask)["logits"][1:2, 7:] - expected).max() < 1e-3


@pytest.mark.parametrize("fused", [True, False])
def test_a_prompt_longer_than_the_window_slides(tiny, tmp_path, fused):
    model = Model.open(str(tiny("MistralForCausalLM", sliding_window=8)))
    artifact = export(model, tmp_path / "a", fused)
    assert np.abs(run(artifact, TOKENS)["logits"] - reference(model.torch_module(), TOKENS)).max() < 1e-3


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_says_what_torch_says(tiny, tmp_path, name, fused):
    model = Model.open(str(tiny(name)))
    artifact = export(model, tmp_path / "a", fused)
    mask = torch.ones_like(TOKENS)
    mask[1, 15:] = 0
    ids = TOKENS.masked_fill(mask == 0, 2)
    outputs = run(artifact, ids, mask)["last_hidden_state"]
    expected = reference(model.torch_module(), ids, mask)
    text = mask.bool().numpy()
    assert np.abs(outputs[text] - expected[text]).max() < 1e-3


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "Qwen2ForCausalLM", "BertModel"])
@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize("fused", [True, False])
def test_every_form_comes_close_to_its_dequantized_self(tiny, tmp_path, name, pipeline, fused):
    variant = make_variant(tiny(name), pipeline, OrtCpu.capability, tmp_path / "v", TOKENS)
    artifact = export(variant, tmp_path / "a", fused)
    expected = reference(variant.torch_module(), TOKENS)
    actual = next(iter(run(artifact, TOKENS).values()))
    error = np.linalg.norm(actual - expected) / np.linalg.norm(expected)
    assert error < (1e-4 if pipeline == "fp16" else 0.05)
    counts = Counter(node.op_type for node in operators(artifact))
    quantized = {"int8:act=dynamic": "DynamicQuantizeMatMul", "fp16": "Cast"}.get(pipeline, "MatMulNBits")
    assert counts[quantized] >= 4
    if pipeline.startswith("int8"):
        assert not counts["MatMul"]
    assert not counts["Transpose"] or pipeline == "fp16"


def test_without_fuse_every_operator_is_a_standard_one(tiny, tmp_path):
    for name in ("LlamaForCausalLM", "BertModel"):
        artifact = export(Model.open(str(tiny(name))), tmp_path / name, fused=False)
        assert {node.domain for node in operators(artifact)} <= {"", "ai.onnx"}


def test_a_tied_matrix_is_stored_once(llama, untied, tmp_path):
    sizes = {}
    for name, path in (("tied", llama), ("untied", untied)):
        for pipeline in ("int8", "fp16"):
            variant = make_variant(path, pipeline, OrtCpu.capability, tmp_path / f"{name}{pipeline}", TOKENS)
            artifact = export(variant, tmp_path / f"{name}{pipeline}a")
            sizes[name, pipeline] = artifact.stored_bytes
            assert artifact.stored_bytes <= (artifact.path / "model.onnx.data").stat().st_size
    head = Model.open(str(untied)).shape("lm_head.weight")
    assert sizes["untied", "fp16"] - sizes["tied", "fp16"] == 2 * head[0] * head[1]
    assert sizes["untied", "int8"] - sizes["tied", "int8"] == head[0] * head[1] + 2 * head[0] * head[1] // 64


def test_decoding_does_not_read_an_untied_embedding(untied, llama, tmp_path):
    model = Model.open(str(untied))
    rows, columns = model.shape("model.embed_tokens.weight")
    artifact = export(model, tmp_path / "a")
    assert artifact.stored_bytes - artifact.read_bytes == 4 * rows * columns
    tied = export(Model.open(str(llama)), tmp_path / "b")
    assert tied.read_bytes == tied.stored_bytes


@pytest.mark.parametrize("graph", ["built", pytest.param("traced", marks=pytest.mark.slow)])
@pytest.mark.parametrize("fused", [True, False])
def test_tables_of_rotations_are_in_memory_alone(tiny, tmp_path, graph, fused):
    """As long as the longest text, for each kind of layer; the file would be 4 MB larger with them."""
    path = tiny(
        "Gemma3ForCausalLM",
        head_dim=16,
        max_position_embeddings=32768,
        sliding_window=16,
        layer_types=["sliding_attention", "full_attention"],
    )
    for context, longest in ((None, 32768), (500, 500)):
        model = Model.open(str(path)).within(context)
        artifact = export(model, tmp_path / f"{context}", fused=fused, graph=graph)
        size = sum((artifact.path / name).stat().st_size for name in ("model.onnx", "model.onnx.data"))
        assert size - artifact.stored_bytes < 200_000
        options = ort.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
        ort.InferenceSession(artifact.path / "model.onnx", options, providers=["CPUExecutionProvider"])
        loaded = onnx.load(tmp_path / "loaded.onnx", load_external_data=False).graph
        tables = [tuple(tensor.dims) for tensor in loaded.initializer if list(tensor.dims)[:1] == [longest]]
        assert tables == [(longest, 8)] * 4
        assert not {"Cos", "Sin", "Range"} & {node.op_type for node in loaded.node if "rotary" in node.name}


def test_the_artifact_tells_where_it_is_from(llama, tmp_path):
    variant = make_variant(llama, "int8,fuse", OrtCpu.capability, tmp_path / "v", TOKENS)
    artifact = export(variant, tmp_path / "a")
    graph = onnx.load(artifact.path / "model.onnx", load_external_data=False)
    assert graph.producer_name == "compress"
    assert {p.key: p.value for p in graph.metadata_props}["recipe"] == ",".join(variant.manifest.recipe)
    assert Artifact.open(artifact.path) == artifact
    assert (artifact.path / "tokenizer.json").is_file()


@pytest.mark.parametrize("fused", [True, False])
def test_onnxruntime_genai_writes_what_transformers_writes(untied, tmp_path, fused):
    genai = pytest.importorskip("onnxruntime_genai")
    model = Model.open(str(untied))
    artifact = export(model, tmp_path / "a", fused)
    prompt = TOKENS[0, :9]
    loaded = genai.Model(str(artifact.path))
    params = genai.GeneratorParams(loaded)
    params.set_search_options(max_length=20)
    generator = genai.Generator(loaded, params)
    generator.append_tokens(prompt.tolist())
    while not generator.is_done():
        generator.generate_next_token()
    written = list(generator.get_sequence(0))
    expected = model.torch_module().generate(prompt[None], max_length=20, do_sample=False)[0].tolist()
    assert written == expected[: len(written)]
    assert len(written) > 10
    facts = json.loads((artifact.path / "genai_config.json").read_text())
    assert facts["search"]["past_present_share_buffer"] is fused


class Wrong(GraphPass):
    """A graph pass that spoils an output."""

    def __str__(self):
        return "wrong"

    def rewrite(self, model):
        node = next(n for n in model.graph if n.op_type == "SkipSimplifiedLayerNormalization")
        node.attributes["epsilon"] = type(node.attributes["epsilon"])("epsilon", node.attributes["epsilon"].type, 0.5)
        return 1


def test_the_gate_names_the_first_differing_output(llama, tmp_path):
    with pytest.raises(
        ExportError, match=r"differs from torch in logits \(one text, without a cache\): by .*; nothing"
    ):
        export(Model.open(str(llama)), tmp_path / "a", passes=[Wrong()], graph="built")
