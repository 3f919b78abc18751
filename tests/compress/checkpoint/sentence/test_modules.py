"""Sentence encoders on disk: read in every layout and spelling, refused in one line, written as they were."""

from __future__ import annotations

import json
import re

import numpy as np
import onnxruntime
import pytest
import torch
import transformers

from compress.checkpoint.model import Model
from compress.errors import ModelError
from compress.modeling.kinds import ENCODER
from tests.support.cli import run_card_examples, run_cli
from tests.support.sentences import (
    NEW,
    NORMALIZE,
    cls_pooling,
    dense,
    pooling,
    save_sentence_encoder,
)

TEXTS = ["the quick brown fox", "seven wizards box daily with jugs of quartz liquor"]


def test_texts_are_cut_off_and_lowercased_as_the_modules_say(bert, tmp_path):
    path = save_sentence_encoder(tmp_path / "model", bert, [pooling("mean")], do_lower_case=True, max_seq_length=40)
    model = Model.open(path)
    assert (model.longest_text, Model.open(bert).longest_text) == (40, 128)
    assert model.tokenizer()("THE Quick")["input_ids"] == Model.open(bert).tokenizer()("the quick")["input_ids"]


def test_a_decoder_that_embeds_is_read_without_its_head(tiny, tmp_path):
    decoder = tiny("Qwen3ForCausalLM", head_dim=16)
    model = Model.open(save_sentence_encoder(tmp_path / "model", decoder, [pooling("lasttoken")]))
    assert (model.class_name, model.kind, model.tied) == ("Qwen3Model", ENCODER, False)


def changed(file, **facts):
    file.write_text(json.dumps({**json.loads(file.read_text()), **facts}))


def test_another_output_than_the_hidden_states_is_refused(bert, tmp_path):
    path = save_sentence_encoder(tmp_path / "model", bert, [pooling("mean")])
    changed(path / "sentence_bert_config.json", modality_config={"text": {"method_output_name": "pooler_output"}})
    with pytest.raises(
        ModelError, match="the transformer's output is 'pooler_output'; compress knows 'last_hidden_state'"
    ):
        Model.open(path)


def test_embeddings_are_cut_off_as_the_settings_say(bert, tmp_path):
    path = save_sentence_encoder(tmp_path / "model", bert, [pooling("mean"), NORMALIZE])
    changed(path / "config_sentence_transformers.json", truncate_dim=16)
    assert str(Model.open(path).sentence.chain) == "mean pooling, normalize, the first 16"
    changed(path / "config_sentence_transformers.json", truncate_dim="16")
    with pytest.raises(ModelError, match="truncate_dim is '16'; give a number of dimensions, or null"):
        Model.open(path)


@pytest.mark.parametrize(("settings", "message"), [
    ({"tokenizer_args": {"do_lower_case": True}},
     "sets do_lower_case in tokenizer_args, which compress doesn't read; set it in tokenizer_config.json"),
    ({"config_kwargs": {"hidden_act": "relu"}},
     "sets hidden_act in config_kwargs, which compress doesn't read; set it in config.json"),
])  # fmt: skip
def test_options_that_override_other_files_are_refused(bert, tmp_path, settings, message):
    path = save_sentence_encoder(tmp_path / "model", bert, [pooling("mean")], **settings)
    with pytest.raises(ModelError) as error:
        Model.open(path)
    assert str(error.value) == f"{path / 'sentence_bert_config.json'} {message}"
    changed(path / "sentence_bert_config.json", tokenizer_args={"model_max_length": 9}, config_kwargs={})
    assert Model.open(path).longest_text == 40


def test_a_classifiers_class_is_read_without_its_head(tiny, tmp_path):
    path = save_sentence_encoder(tmp_path / "model", tiny("BertForSequenceClassification"), [pooling("mean")])
    model = Model.open(path)
    assert (model.class_name, model.kind, str(model.sentence.chain)) == ("BertModel", ENCODER, "mean pooling")


def test_a_text_generators_encoder_is_refused(tiny, tmp_path):
    sizes = {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 1, "num_heads": 4}
    path = save_sentence_encoder(tmp_path / "model", tiny("T5ForConditionalGeneration", **sizes), [pooling("mean")])
    with pytest.raises(ModelError) as error:
        Model.open(path)
    assert str(error.value) == (
        f"{path} is a sentence encoder's t5, and sentence encoders are supported that are encoders or decoders of "
        "text; without modules.json a T5ForConditionalGeneration is compressed"
    )


def test_the_card_lowercases_as_the_modules_do(bert, tmp_path):
    path = save_sentence_encoder(tmp_path / "model", bert, [pooling("mean")], do_lower_case=True)
    assert run_cli(path, "-p", "fp16", "--target", "hf", "--no-score", "-o", tmp_path / "out").returncode == 0
    assert 'tokenizer("The capital of France".lower(), ' in (tmp_path / "out" / "fp16" / "README.md").read_text()


def test_modules_are_written_as_they_were(bert, tmp_path):
    modules = [pooling("cls"), dense(64, 48), ("Dropout", {"dropout": 0.1}, {}), NORMALIZE]
    root = save_sentence_encoder(tmp_path / "model", bert, modules, transformer="0_Transformer", names=NEW)
    out = tmp_path / "out"
    out.mkdir()
    Model.open(root).sentence.save(out)
    rows, before = (json.loads((folder / "modules.json").read_text()) for folder in (out, root))
    assert [row["path"] for row in rows] == ["", "1_Pooling", "2_Dense", "3_Dropout", "4_Normalize"]
    assert [(row["idx"], row["name"], row["type"]) for row in rows] == [
        (r["idx"], r["name"], r["type"]) for r in before
    ]
    for name in ("1_Pooling/config.json", "2_Dense/config.json", "3_Dropout/config.json"):
        assert json.loads((out / name).read_text()) == json.loads((root / name).read_text())
    assert (out / "2_Dense/model.safetensors").is_file()
    assert (out / "4_Normalize").is_dir()
    assert json.loads((out / "config_sentence_transformers.json").read_text())["prompts"] == {"query": "the quick "}


def embedded(folder, text):
    """A graph's embedding of one text."""
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(text, return_tensors="np", return_token_type_ids=True)
    names = {node.name for node in session.get_inputs()}
    return session.run(["sentence_embedding"], {key: tokens[key] for key in tokens if key in names})[0][0]


@pytest.mark.slow  # whole runs, and sentence-transformers takes seconds to import
@pytest.mark.parametrize(("architecture", "transformer", "modules", "pipeline", "least"), [
    ("BertModel", "", [cls_pooling(), NORMALIZE], "int8,fuse", 0.99),
    ("BertModel", "0_Transformer", [pooling("mean", "weightedmean"), dense(128, 48), NORMALIZE], "int4", 0.8),
    ("Qwen3ForCausalLM", "", [pooling("lasttoken"), NORMALIZE], "fp16,fuse", 0.9999),
])  # fmt: skip
def test_a_variant_is_a_sentence_encoder(tiny, tmp_path, architecture, transformer, modules, pipeline, least):
    from sentence_transformers import SentenceTransformer

    heads = {"head_dim": 16} if architecture == "Qwen3ForCausalLM" else {}
    model = save_sentence_encoder(tmp_path / "model", tiny(architecture, **heads), modules, transformer)
    assert run_cli(str(model), "-p", pipeline, "--no-score", "-o", str(tmp_path / "out")).returncode == 0
    (variant,) = (tmp_path / "out").iterdir()
    original, compressed = (SentenceTransformer(str(path), device="cpu") for path in (model, variant))
    if pipeline == "int4":  # as the card says
        compressed[0].auto_model(torch.tensor([[0]]))
    assert compressed[0].max_seq_length == original[0].max_seq_length == 40
    ours, theirs = compressed.encode(TEXTS), original.encode(TEXTS)
    cosines = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert cosines.min() > least
    *_, in_torch, in_onnx = run_card_examples(variant)
    printed = [np.array(re.findall(r"-?\d+\.\d+(?:e-\d+)?", text), float) for text in (in_torch, in_onnx)]
    assert printed[0].shape == printed[1].shape == theirs[0].shape
    assert (printed[0] @ printed[1]) / np.linalg.norm(printed[0]) / np.linalg.norm(printed[1]) > least
    for text, vector in zip(TEXTS, theirs, strict=True):
        in_graph = embedded(variant / "onnx", text)
        assert in_graph.shape == vector.shape
        assert in_graph @ vector / np.linalg.norm(in_graph) / np.linalg.norm(vector) > least
