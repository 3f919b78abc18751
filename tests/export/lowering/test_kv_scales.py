"""The int8 cache: its scales, and the runtime's rounding against torch with a cache rounded by the same rule."""

import json

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from transformers import DynamicCache

from compress.checkpoint.model import Model
from compress.errors import ExportError
from compress.export.lowering import kv_scales
from compress.export.lowering.kv_scales import Mixing, measure_scales, mixings
from compress.export.targets.base import find_target
from compress.export.targets.ort_cpu import OrtCpu
from compress.passes.fuse import Fuse
from compress.progress import Silent
from tests.support.models import SIZES
from tests.support.tensors import gaussian, token_ids

TOKENS = token_ids(1, 24)
DECODERS = ["LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"]


class RoundedCache(DynamicCache):
    """A torch cache that rounds what it takes in."""

    def __init__(self, config, scales):
        super().__init__(config=config)
        self.scales = scales

    def update(self, keys, values, layer, *args, **kwargs):
        scales = [self.scales[f"past_key_values.{layer}.{part}"] for part in ("key", "value")]
        rounded = [(x / s).round().clamp(-128, 127) * s for x, s in zip((keys, values), scales, strict=True)]
        return super().update(*rounded, layer, *args, **kwargs)


def export(path, out):
    out.mkdir()
    return find_target("ort-cpu").export(Model.open(str(path)), [Fuse(kv="int8")], out, Silent())


def run(artifact, parts):
    """The logits of one part of a text after another, and the cache in the end."""
    session = ort.InferenceSession(artifact.path / "model.onnx", providers=["CPUExecutionProvider"])
    cache, past, logits = {}, 0, []
    for ids in parts:
        total = past + ids.shape[1]
        feed = {"input_ids": ids.numpy(), "attention_mask": np.ones((1, total), np.int64)}
        for node in session.get_inputs():
            if node.name.startswith("past"):
                empty = np.zeros((1, node.shape[1], 0, node.shape[3]), np.int8)
                feed[node.name] = cache.get(node.name.replace("past_key_values", "present"), empty)
        outputs = session.run(None, feed)
        cache, past = dict(zip([o.name for o in session.get_outputs()], outputs, strict=True)), total
        logits.append(cache.pop("logits"))
    return np.concatenate(logits, 1), cache


@pytest.mark.parametrize("name", DECODERS)
def test_the_runtime_rounds_as_torch_does_by_the_same_rule(tiny, tmp_path, name):
    path = tiny(name)
    artifact = export(path, tmp_path / "a")
    module = Model.open(str(path)).torch_module()
    cache = RoundedCache(module.config, scales := stored_scales(artifact))
    with torch.no_grad():
        expected = [module(part, past_key_values=cache).logits for part in (TOKENS[:, :20], TOKENS[:, 20:])]
        floats = module(TOKENS).logits
    actual, codes = run(artifact, [TOKENS[:, :20], *TOKENS[:, 20:].split(1, 1)])
    rounded = torch.cat(expected, 1)
    # a key between two codes goes either way, which moves the logits far less than the rounding itself
    assert np.linalg.norm(actual - rounded.numpy()) < 0.25 * (rounded - floats).norm()
    assert 0 < (rounded - floats).norm() / floats.norm() < 0.05
    for layer, layer_cache in enumerate(cache.layers):
        theirs = (layer_cache.keys / scales[f"past_key_values.{layer}.key"]).round().numpy()
        assert codes[f"present.{layer}.key"].dtype == np.int8
        assert np.abs(codes[f"present.{layer}.key"] - theirs).max() <= 1
        assert (codes[f"present.{layer}.key"] != theirs).mean() < 0.02


def stored_scales(artifact):
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(artifact.path / "model.onnx").graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    return {
        name.removesuffix(".scale"): torch.from_numpy(array.copy())
        for name, array in arrays.items()
        if name.startswith("past_key_values")
    }


def test_a_range_is_the_norm_of_the_two_channels_that_a_rotation_mixes(llama):
    module = Model.open(str(llama)).torch_module()
    scales = measure_scales(module, TOKENS[0])
    cache = DynamicCache(config=module.config)
    with torch.no_grad():
        module(TOKENS, past_key_values=cache)
    keys = cache.layers[0].keys
    norms = (keys[..., :8] ** 2 + keys[..., 8:] ** 2).sqrt().amax((0, 2))
    scale = scales["past_key_values.0.key"][0, :, 0]
    assert torch.equal(scale[:, :8], scale[:, 8:])
    assert (127 * scale[:, :8] >= 1.25 * norms - 1e-5).all()
    assert {tuple(initializer.shape) for initializer in scales.values()} == {(1, 2, 1, 16)}


PARTIAL = {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.25}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.5}
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 32}
LINEAR = {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}
LONGROPE = {
    "rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 32,
    "short_factor": [1.0] * 8, "long_factor": [2.0] * 8,
}  # fmt: skip
LONG = {**SIZES, "num_key_value_heads": 2, "max_position_embeddings": 4096}
OLD = {"n_embd": 64, "n_layer": 2, "n_head": 2, "n_positions": 512, "initializer_range": 0.2}
ROTATIONS = {
    "halves": ("LlamaForCausalLM", LONG),
    "yarn": ("MistralForCausalLM", {**LONG, "rope_parameters": YARN}),
    "linear": ("Qwen3ForCausalLM", {**LONG, "head_dim": 16, "rope_parameters": LINEAR}),
    "longrope": ("Phi3ForCausalLM", {**LONG, "rope_parameters": LONGROPE, "original_max_position_embeddings": 32}),
    "dynamic": ("LlamaForCausalLM", {**LONG, "rope_parameters": DYNAMIC}),
    "a quarter of a head": (
        "GPTNeoXForCausalLM",
        {**SIZES, "hidden_size": 128, "num_attention_heads": 2, "max_position_embeddings": 2048,
         "rope_parameters": PARTIAL},
    ),
    "neighbors": ("CohereForCausalLM", LONG),
    "neighbors, in some layers": (
        "Cohere2ForCausalLM", {**LONG, "layer_types": ["sliding_attention", "full_attention"]},
    ),
    "neighbors, a part of a head": ("GPTJForCausalLM", {**OLD, "rotary_dim": 16}),
    "no rotation in one layer": ("SmolLM3ForCausalLM", {**LONG, "no_rope_layers": [1, 0]}),
    "learned positions": ("GPT2LMHeadModel", OLD),
}  # fmt: skip
"""Rotations of each kind; keys of 16 to 64 channels."""


def keys_at(module, tokens, start):
    """The keys of a text whose first token lies at ``start``, layer by layer."""
    cache = DynamicCache(config=module.config)
    positions = start + torch.arange(tokens.shape[1])[None]
    with torch.inference_mode():
        module.base_model(input_ids=tokens, position_ids=positions, past_key_values=cache, use_cache=True)
    return [layer.keys for layer in cache.layers]


@pytest.mark.parametrize("kind", ROTATIONS)
def test_a_key_loses_no_more_at_the_last_positions_than_at_the_first(random_model, kind):
    """What all words share makes keys that turn far in slow channels, as a trained model's do."""
    name, options = ROTATIONS[kind]
    model = Model.open(str(random_model(name, **options)))
    module = model.torch_module()
    words = module.get_input_embeddings().weight
    words.data += 10 * words.std() * gaussian(1, words.shape[1], seed=6)
    scales = measure_scales(module, TOKENS[0])
    longest = model.config.max_position_embeddings
    for start in (0, 24, longest // 3, longest // 2, longest - 24):
        for layer, keys in enumerate(keys_at(module, TOKENS, start)):
            scale = scales[f"past_key_values.{layer}.key"]
            rounded = (keys / scale).round().clamp(-128, 127) * scale
            assert (rounded - keys).norm() < 0.01 * keys.norm(), (start, layer)


def test_channels_that_no_rotation_moves_keep_their_own_range():
    keys = torch.tensor([3.0, 4.0, 5.0, 12.0, -7.0, 2.0])
    assert Mixing(4, neighbors=True).reach(keys).tolist() == [5, 5, 13, 13, 7, 2]
    assert Mixing(4, neighbors=False).reach(keys).tolist() == pytest.approx([34**0.5, 160**0.5] * 2 + [7, 2])


@pytest.mark.parametrize(("kind", "expected"), [
    ("halves", [Mixing(16)] * 2),
    ("longrope", [Mixing(16)] * 2),
    ("a quarter of a head", [Mixing(16)] * 2),
    ("neighbors", [Mixing(16, True)] * 2),
    ("neighbors, in some layers", [Mixing(16, True), Mixing()]),
    ("neighbors, a part of a head", [Mixing(16, True)] * 2),
    ("no rotation in one layer", [Mixing(16), Mixing()]),
    ("learned positions", [Mixing()] * 2),
])  # fmt: skip
def test_two_positions_tell_which_channels_are_mixed(random_model, kind, expected):
    name, options = ROTATIONS[kind]
    module = Model.open(str(random_model(name, **options))).torch_module()
    assert list(mixings(module, TOKENS[0]).values()) == expected


def test_scales_that_cut_values_off_do_not_pass_the_gate(llama, tmp_path, monkeypatch):
    def small(module, ids):
        return {name: scale / 10 for name, scale in measure_scales(module, ids).items()}

    monkeypatch.setattr(kv_scales, "measure_scales", small)
    with pytest.raises(ExportError, match="not close to torch"):
        export(llama, tmp_path / "a")


def test_scales_of_the_file_that_are_others_do_not_pass_the_gate(llama, tmp_path, monkeypatch):
    """Codes and scales of a cache are the graph's affair; that they are those that were measured is ours."""

    def mutate(target, model, dtype):
        value = model.graph.initializers["past_key_values.1.key.scale"]
        value.const_value = ir.tensor(value.const_value.numpy() * np.float32(1.05), name=value.name)

    monkeypatch.setattr(OrtCpu, "check_graph", mutate)
    with pytest.raises(ExportError, match=r"not close to torch in present.1.key .*allowed 0.0"):
        export(llama, tmp_path / "a")


def test_genai_generates_with_an_int8_cache(llama, tmp_path):
    genai = pytest.importorskip("onnxruntime_genai")
    artifact = export(llama, tmp_path / "a")
    model = genai.Model(str(artifact.path))
    params = genai.GeneratorParams(model)
    params.set_search_options(max_length=20)
    generator = genai.Generator(model, params)
    generator.append_tokens(TOKENS[0, :8].tolist())
    while not generator.is_done():
        generator.generate_next_token()
    assert len(generator.get_sequence(0)) == 20
    assert json.loads((artifact.path / "genai_config.json").read_text())["search"]["past_present_share_buffer"]
