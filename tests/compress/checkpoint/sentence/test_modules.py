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
from compress.modeling.sentence_chain import DenseLayer, LayerNorm, Normalize, Pooling
from tests.support.cli import run_card_examples, run_cli
from tests.support.sentences import (
    NEW,
    NORMALIZE,
    cls_pooling,
    dense,
    layer_norm,
    pooling,
    save_sentence_encoder,
)

TEXTS = ["the quick brown fox", "seven wizards box daily with jugs of quartz liquor"]


def classes(path):
    return [type(module) for module in Model.open(path).sentence.chain.modules]


def test_every_module_is_read_in_its_order(bert, tmp_path):
    modules = [pooling("cls", "mean"), dense(128, 48), layer_norm(48), ("Dropout", {"dropout": 0.1}, {}), NORMALIZE]
    model = Model.open(save_sentence_encoder(tmp_path / "model", bert, modules))
    assert classes(model.path) == [Pooling, DenseLayer, LayerNorm, Normalize]
    assert (model.sentence.max_length, model.sentence.lowercase, model.sentence.chain.width(64)) == (40, False, 48)
    assert str(model.sentence.chain) == "cls and mean pooling, a dense layer 128 → 48, layer norm, normalize"


def test_texts_are_cut_off_and_lowercased_as_the_modules_say(bert, tmp_path):
    path = save_sentence_encoder(tmp_path / "model", bert, [pooling("mean")], do_lower_case=True, max_seq_length=40)
    model = Model.open(path)
    assert (model.longest_text, Model.open(bert).longest_text) == (40, 128)
    assert model.tokenizer()("THE Quick")["input_ids"] == Model.open(bert).tokenizer()("the quick")["input_ids"]


def test_old_and_new_names_and_spellings_are_alike(bert, tmp_path):
    old = Model.open(save_sentence_encoder(tmp_path / "old", bert, [cls_pooling(), dense(64, 64), NORMALIZE]))
    new = save_sentence_encoder(tmp_path / "new", bert, [pooling("cls"), dense(64, 64), NORMALIZE], names=NEW)
    assert classes(old.path) == classes(new)
    assert (
        old.sentence.chain.modules[0] == Model.open(new).sentence.chain.modules[0] == Pooling(modes=("cls",), takes=64)
    )


def test_a_transformer_in_a_folder_of_its_own(bert, tmp_path):
    root = save_sentence_encoder(tmp_path / "model", bert, [pooling("max")], transformer="0_Transformer")
    model = Model.open(root)
    assert (model.path, model.license_folder, model.name) == (root / "0_Transformer", root, "model")
    assert Model.open(root / "0_Transformer").sentence.root == root


def test_a_decoder_that_embeds_is_read_without_its_head(tiny, tmp_path):
    decoder = tiny("Qwen3ForCausalLM", head_dim=16)
    model = Model.open(save_sentence_encoder(tmp_path / "model", decoder, [pooling("lasttoken")]))
    assert (model.class_name, model.kind, model.tied) == ("Qwen3Model", ENCODER, False)


def test_a_cross_encoders_modules_are_none(bert, tmp_path):
    path = save_sentence_encoder(tmp_path / "model", bert, [])
    (path / "config_sentence_transformers.json").write_text('{"model_type": "CrossEncoder"}')
    assert Model.open(path).sentence is None


def changed(file, **facts):
    file.write_text(json.dumps({**json.loads(file.read_text()), **facts}))


@pytest.mark.parametrize(("modules", "message"), [
    ([pooling("mean"), ("CNN", {}, {})],
     "{path}/modules.json: compress doesn't know the module sentence_transformers.models.CNN, only Pooling, Dense, "
     "LayerNorm, Normalize and Dropout of sentence-transformers behind a Transformer; without modules.json the "
     "transformer alone is compressed"),
    ([pooling("median")], "{path}/1_Pooling/config.json: the pooling mode is ['median']; there are cls, max, mean, "
                          "mean_sqrt_len_tokens, weightedmean, lasttoken"),
    ([("Pooling", {"pooling_mode": "cls"}, {})],
     "{path}/1_Pooling/config.json lacks embedding_dimension, the width of what is pooled"),
    ([pooling("mean", width=32)], "{path}/modules.json is no sentence encoder's: Pooling is 32 wide, but gets 64"),
    ([], "{path}/modules.json is no sentence encoder's: no module makes a sentence embedding, as a Pooling would"),
    ([pooling("mean"), dense(64, 8, "mine.Swish")],
     "{path}/2_Dense/config.json: compress doesn't know the activation mine.Swish; there are Identity, Tanh, ReLU, "
     "GELU, Sigmoid, SiLU, ELU, LeakyReLU, Softplus, Softsign, Mish"),
    ([pooling("mean"), ("Dense", {}, {"linear.bias": torch.ones(3)})],
     "{path}/2_Dense lacks linear.weight, which its Dense needs"),
    ([pooling("mean"), dense(64, 8, module_input_name="scores")],
     "{path}/2_Dense/config.json: compress knows no 'scores', only token_embeddings and sentence_embedding"),
])  # fmt: skip
def test_what_cant_be_an_embedding_is_refused(bert, tmp_path, modules, message):
    path = save_sentence_encoder(tmp_path / "model", bert, modules)
    with pytest.raises(ModelError) as error:
        Model.open(path)
    assert str(error.value) == message.format(path=path)


@pytest.mark.parametrize(("text", "message"), [
    ("{}", "can't be read: a JSON list is needed"),
    ("[1]", "can't be read: every module needs a name, a path and a type"),
    ('[{"name": "0", "path": "../x", "type": "t"}]', "points outside its directory, to ../x"),
    ("[" * 100_000, "can't be read (nested too deep)"),
])  # fmt: skip
def test_a_broken_list_of_modules_is_refused(bert, tmp_path, text, message):
    path = save_sentence_encoder(tmp_path / "model", bert, [pooling("mean")])
    (path / "modules.json").write_text(text)
    with pytest.raises(ModelError) as error:
        Model.open(path)
    assert str(error.value) == f"{path / 'modules.json'} {message}"


def test_another_output_than_the_hidden_states_is_refused(bert, tmp_path):
    path = save_sentence_encoder(tmp_path / "model", bert, [pooling("mean")])
    changed(path / "sentence_bert_config.json", modality_config={"text": {"method_output_name": "pooler_output"}})
    with pytest.raises(
        ModelError, match="the transformer's output is 'pooler_output'; compress knows 'last_hidden_state'"
    ):
        Model.open(path)


def test_pickled_modules_are_read_only_where_pickles_are_trusted(bert, tmp_path):
    path = save_sentence_encoder(tmp_path / "model", bert, [pooling("mean"), dense(64, 8)])
    (path / "2_Dense" / "model.safetensors").unlink()
    torch.save(dense(64, 8)[2], path / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(ModelError, match="2_Dense/pytorch_model.bin is a pickle"):
        Model.open(path)
    weight = Model.open(path, trust_remote_code=True).sentence.chain.modules[1].weight
    assert torch.equal(weight, dense(64, 8)[2]["linear.weight"])


def test_a_link_out_of_the_checkpoint_is_refused(bert, tmp_path):
    path = save_sentence_encoder(tmp_path / "model", bert, [pooling("mean")])
    (tmp_path / "secret").write_text("{}")
    (path / "1_Pooling" / "config.json").unlink()
    (path / "1_Pooling" / "config.json").symlink_to(tmp_path / "secret")
    with pytest.raises(ModelError, match="1_Pooling/config.json is a link out of the checkpoint"):
        Model.open(path)


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
