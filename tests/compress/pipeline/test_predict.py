"""Predicted bytes against those of real runs, and of a model that nobody has the weights of here."""

import json

import pytest
import transformers

from compress.errors import ModelError, UsageError
from compress.export.targets.base import find_target
from compress.export.targets.ort_cpu import OrtCpu
from compress.modeling.kinds import ENCODER
from compress.pipeline.parse import Pipeline
from compress.pipeline.predict import ConfigOnlyModel, predict
from tests.support.passes import make_variant
from tests.support.sentences import pooling, save_sentence_encoder
from tests.support.tensors import token_ids

TOKENS = token_ids(4, 24)


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "BertModel"])
@pytest.mark.parametrize(
    "pipeline",
    [
        "fp16", "int8", "int8:act=none:asym", "int4:group=64:head=int4:embed=int4", "int4:skip=*.weight",
        "int4:solver=rtn:compensate=8", "lowrank:rank=0.625:whiten=off", "sparse:solver=magnitude:refine=off",
        "lowrank:rank=0.4:whiten=off:pivot=off",
        "lowrank:rank=0.4:whiten=off,sparse24,fp16,int8",
        "bf16,lowrank:rank=0.4:whiten=off:head=float,int4:solver=rtn:asym:compensate=2",
    ],
)  # fmt: skip
def test_a_run_takes_the_bytes_that_were_predicted(tiny, tmp_path, name, pipeline):
    path, passes = tiny(name), Pipeline.parse(pipeline)
    variant = make_variant(path, passes, OrtCpu.capability, tmp_path, TOKENS)
    predicted = predict(ConfigOnlyModel.read(path), passes, OrtCpu.capability)
    assert predicted.weights == variant.manifest.weights
    assert predicted.nbytes == variant.manifest.nbytes
    assert predicted.bits_per_weight == variant.manifest.bits_per_weight


def test_a_decoder_that_embeds_is_predicted_without_its_head(tiny, tmp_path):
    decoder = tiny("Qwen3ForCausalLM", head_dim=16, tie_word_embeddings=False)
    path = save_sentence_encoder(tmp_path / "model", decoder, [pooling("lasttoken")], transformer="0_Transformer")
    passes = Pipeline.parse("int4")
    variant = make_variant(path, passes, OrtCpu.capability, tmp_path / "out", TOKENS)
    predicted = predict(ConfigOnlyModel.read(path), passes, OrtCpu.capability)
    assert predicted.weights == variant.manifest.weights
    assert (predicted.nbytes, predicted.parameters) == (variant.manifest.nbytes, variant.manifest.source.parameters)


@pytest.mark.parametrize(("config", "name"), [
    (transformers.SiglipConfig(), "SiglipForImageClassification"), (transformers.Wav2Vec2Config(), "Wav2Vec2Model"),
])  # fmt: skip
def test_a_model_of_several_parts_is_refused_in_a_line(tmp_path, config, name):
    config.save_pretrained(tmp_path)
    with pytest.raises(ModelError) as error:
        ConfigOnlyModel.read(tmp_path)
    assert str(error.value) == (
        f"{tmp_path / 'config.json'}: a {name} isn't one stack of layers behind one embedding, as compress reads "
        "models; give the config.json of a part of it that is"
    )


def gpt_j(path):
    """GPT-J's config, as it is published: 6 billion parameters."""
    transformers.GPTJConfig(architectures=["GPTJForCausalLM"], dtype="float16").save_pretrained(path)
    return ConfigOnlyModel.read(path)


def test_low_rank_takes_a_seventh_off_a_6b_gpt(tmp_path):
    model = gpt_j(tmp_path)
    original = predict(model, None, OrtCpu.capability)
    assert original.parameters == 6_050_882_784
    assert original.nbytes == 2 * original.parameters
    less = predict(model, Pipeline.parse("lowrank:rank=0.625:pivot=off"), OrtCpu.capability)
    mlp, head = 28 * 2 * (4096 * 16384 - 2560 * 20480), 4096 * 50400 - 2560 * 54496
    assert original.nbytes - less.nbytes == 2 * (mlp + head)
    assert 0.14 < 1 - less.nbytes / original.nbytes < 0.16
    assert {name.split(".")[-2] for name, form in less.weights.items() if form.form == "factored"} == {
        "fc_in", "fc_out", "lm_head"
    }  # fmt: skip


def test_pivots_take_another_eighth_off_it(tmp_path):
    model = gpt_j(tmp_path)
    plain, pivoted = (
        predict(model, Pipeline.parse(f"lowrank:rank=0.625{option}"), OrtCpu.capability)
        for option in (":pivot=off", "")
    )
    mlp, head = 28 * 2 * 2560 * 2560, 2560 * 2560
    attention = 28 * 4 * (4096 * 4096 - 2560 * (8192 - 2560))
    order = 28 * (4 * 4096 + 4096 + 16384) + 50400
    assert plain.nbytes - pivoted.nbytes == 2 * (mlp + head + attention) - 4 * order
    assert 0.12 < 1 - pivoted.nbytes / plain.nbytes < 0.13


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("lowrank:keep=0.8", "lowrank: ranks by keep and energy hang on the weights; give rank to predict sizes"),
        ("int4:mixed=4.5", "int4: mixed shares bits out by the weights' losses; leave it out to predict sizes"),
        ("int4:group=128", "int4: group=128 doesn't divide"),
    ],
)
def test_what_only_the_weights_tell_is_refused(llama, pipeline, message):
    with pytest.raises(UsageError, match=message):
        predict(ConfigOnlyModel.read(llama), Pipeline.parse(pipeline), OrtCpu.capability)


def test_a_config_that_is_none_is_refused(tmp_path):
    with pytest.raises(ModelError, match="it has no config.json"):
        ConfigOnlyModel.read(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "nothing"}))
    with pytest.raises(ModelError, match="no config that transformers knows"):
        ConfigOnlyModel.read(tmp_path)


def test_a_base_model_has_no_head(tmp_path):
    transformers.VideoMAEConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=4).save_pretrained(tmp_path)
    assert ConfigOnlyModel.read(tmp_path).kind is ENCODER


SMALL = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 99,
         "num_key_value_heads": 4}  # fmt: skip


@pytest.mark.parametrize("target", ["ort-cpu", "hf", "gguf", "tensorrt"])
@pytest.mark.parametrize(
    ("model_type", "options"),
    [
        ("gemma", {"head_dim": 16}), ("phi", {}), ("granite", {}), ("olmo2", {}), ("starcoder2", {}), ("stablelm", {}),
        ("qwen2_moe", {"num_experts": 4, "moe_intermediate_size": 32}), ("electra", {"embedding_size": 64}),
        ("codegen", {"n_embd": 64, "n_head": 4, "n_layer": 1, "rotary_dim": 16}), ("mamba", {"state_size": 8}),
        ("funnel", {"d_model": 64, "n_head": 4, "d_head": 16, "d_inner": 96, "block_sizes": [1]}), ("albert", {}),
    ],
)  # fmt: skip
def test_any_family_that_transformers_knows_is_predicted(tmp_path, model_type, options, target):
    config = transformers.AutoConfig.for_model(
        model_type, **(options if model_type == "funnel" else {**SMALL, **options})
    )
    config.save_pretrained(tmp_path)
    model, capability = ConfigOnlyModel.read(tmp_path), find_target(target).capability
    original = predict(model, None, capability)
    half = predict(model, Pipeline.parse("fp16"), capability)
    assert half.nbytes == original.nbytes / 2
    assert predict(model, Pipeline.parse("fp16,int8:act=none"), capability).nbytes < half.nbytes
