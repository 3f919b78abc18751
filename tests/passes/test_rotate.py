"""Rotations folded into tiny models; that all families' logits stay the same is in ``tests/whole/test_families.py``."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from compress.checkpoint.model import Model
from compress.checkpoint.variant import Variant
from compress.errors import UsageError
from compress.export.targets.ort_cpu import OrtCpu
from compress.pipeline.parse import Pipeline
from compress.pipeline.predict import ConfigOnlyModel, predict
from compress.pipeline.resolve import notices, resolve
from compress.pipeline.run import run_pipeline
from compress.progress import Silent
from tests.passes.conftest import ANY, TOKENS
from tests.support.tensors import token_ids

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def logits(module):
    with torch.no_grad():
        return module(token_ids(3, 16)).logits


def off(path, module):
    exact = logits(Model.open(str(path)).torch_module())
    return float((logits(module) - exact).abs().max())


def resolved(path, text):
    model = Model.open(str(path))
    pipeline = resolve(model, Pipeline.parse(text), ANY)
    return str(pipeline), notices(model, [pipeline], ANY)


def test_a_tied_head_leaves_the_residual_stream_as_it_is(llama, run):
    """A head of its own would be another 322 · 64 numbers."""
    more = "residual=on gives the model a head of its own, 0.0206 M weights more"
    assert resolved(llama, "rotate") == (
        "rotate:residual=off",
        [f"rotate: the residual stream stays as it is: {more}"],
    )
    variant, model = run(llama, "rotate"), Model.open(str(llama))
    assert variant.tied
    assert off(llama, variant.torch_module()) < 1e-4
    same = [torch.equal(variant.weight(n).tensor, model.weight(n).tensor) for n in model.matrices]
    assert same.count(False) == 4  # values and outputs of two layers


def test_a_tied_head_becomes_one_of_its_own(llama, run):
    assert resolved(llama, "rotate:residual=on")[1] == [
        "rotate: the head, tied to the embedding so far, becomes one of its own, 0.0206 M weights more"
    ]
    variant = run(llama, "rotate:residual=on")
    assert not variant.tied
    assert not Variant.open(variant.path).tied
    assert variant.manifest.source.tied
    assert variant.manifest.parameters == variant.manifest.source.parameters + 322 * 64
    assert off(llama, variant.torch_module()) < 1e-4
    theirs = AutoModelForCausalLM.from_pretrained(variant.path)
    assert not theirs.config.tie_word_embeddings
    assert off(llama, theirs) < 1e-4
    assert torch.equal(variant.tensor("model.norm.weight"), torch.ones(64))


def test_integers_are_solved_on_the_rotated_model(llama, run):
    """The original that GPTQ compares with is rotated as well, so the error is no larger than without."""
    plain, rotated = (run(llama, f"{first}int4:group=32") for first in ("", "rotate:residual=on,"))
    assert rotated.manifest.weights[HEAD].form == "quantized"
    layer, name = "model.layers.1", "model.layers.1.mlp.down_proj.weight"
    before, after = (variant.manifest.layers[layer].weights[name].error for variant in (plain, rotated))
    assert after < 1.2 * before
    assert off(llama, rotated.torch_module()) < 1.5 * off(llama, plain.torch_module())


@pytest.mark.parametrize("text", ["rotate", "rotate:residual=on", "rotate:residual=on,int4:group=32:solver=rtn"])
def test_sizes_are_predicted(tiny, run, text):
    """Of a 16-bit checkpoint too, whose rotated numbers are float32."""
    path = tiny("LlamaForCausalLM", tie_word_embeddings=True, dtype=torch.bfloat16)
    variant = run(path, text)
    predicted = predict(ConfigOnlyModel.read(path), Pipeline.parse(text), ANY)
    assert (predicted.weights, predicted.nbytes) == (variant.manifest.weights, variant.manifest.nbytes)
    assert variant.tensor("model.norm.weight").dtype == torch.float32


def test_the_seed_draws_the_signs(llama, tmp_path):
    def values(seed):
        out = tmp_path / str(seed)
        out.mkdir(exist_ok=True)
        pipeline = Pipeline.parse("rotate")
        variant = run_pipeline(Model.open(str(llama)), pipeline, ANY, out, lambda: None, seed, Silent())
        return variant.weight("model.layers.0.self_attn.v_proj.weight").tensor

    first = values(0)
    assert torch.equal(first, values(0))
    assert not torch.equal(first, values(1))


def test_it_counts_as_a_pass_that_changed_something(llama, tmp_path):
    progress = Silent()
    run_pipeline(Model.open(str(llama)), Pipeline.parse("rotate"), ANY, tmp_path, lambda: None, 0, progress)
    assert progress.notices == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "int4,rotate",
            "pipeline int4,rotate: rotate works on the model as it is, so int4 can't come before it; this order works: "
            "rotate,int4",
        ),
        (
            "rotate,sparse24:solver=wanda",
            "pipeline rotate,sparse24:solver=wanda: sparse24:solver=wanda chooses weights by their size and their "
            "inputs', and rotate makes these all alike, and no other order works; leave one of them out",
        ),
        (
            "sparse:solver=magnitude,int4,rotate",
            "pipeline sparse:solver=magnitude,int4,rotate: rotate works on the model as it is, so int4 can't come "
            "before it, and no other order works; leave one of them out",
        ),
    ],
)
def test_orders_that_cannot_work(text, message):
    with pytest.raises(UsageError) as error:
        Pipeline.parse(text)
    assert str(error.value) == message


def test_zeros_that_are_made_good_may_follow():
    assert Pipeline.parse("rotate,sparse24,int4")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "LlamaForCausalLM",
            "rotate:residual=off:heads=off",
            "rotate: residual=off:heads=off rotates nothing; leave one of them on",
        ),
        (
            "BertModel",
            "rotate:residual=on",
            "rotate: the residual stream of a BertModel can't be rotated: embeddings.LayerNorm is added to it with its "
            "gain; use residual=off",
        ),
        (
            "BertModel",
            "rotate:heads=off",
            "rotate: of a BertModel nothing is rotated: its residual stream can't be rotated: embeddings.LayerNorm is "
            "added to it with its gain; leave out heads=off",
        ),
    ],
)
def test_what_rotates_nothing_is_refused(tiny, name, text, message):
    with pytest.raises(UsageError) as error:
        resolve(Model.open(str(tiny(name))), Pipeline.parse(text), ANY)
    assert str(error.value) == message


@pytest.mark.slow
def test_a_rotated_model_is_exported_with_all_its_fusions(tiny, run, tmp_path):
    """The parity gate is in the export."""
    path = tiny("LlamaForCausalLM", tie_word_embeddings=True)
    pipeline = Pipeline.parse("rotate:residual=on,int4:group=32,fuse")
    variant = run(path, pipeline, OrtCpu.capability, TOKENS)
    OrtCpu().export(variant, pipeline.graph_passes, tmp_path, Silent())
    assert (tmp_path / "model.onnx").is_file()
