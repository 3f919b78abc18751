"""``modules.json``: the folders that it lists, and what is refused of it."""

from __future__ import annotations

import json

import pytest

from compress.checkpoint.model import Model
from compress.errors import ModelError
from tests.support.cli import run_cli
from tests.support.sentences import pooling, save_sentence_encoder


def test_a_transformer_in_a_folder_of_its_own(bert, tmp_path):
    root = save_sentence_encoder(tmp_path / "model", bert, [pooling("max")], transformer="0_Transformer")
    model = Model.open(root)
    assert (model.path, model.license_folder, model.name) == (root / "0_Transformer", root, "model")
    assert Model.open(root / "0_Transformer").sentence.root == root


def test_a_cross_encoders_modules_are_none(bert, tmp_path):
    path = save_sentence_encoder(tmp_path / "model", bert, [])
    (path / "config_sentence_transformers.json").write_text('{"model_type": "CrossEncoder"}')
    assert Model.open(path).sentence is None


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


@pytest.mark.parametrize(
    ("type_", "path"),
    [
        ("sentence_transformers.models.StaticEmbedding", ""),
        ("sentence_transformers.models.Router", ""),
        ("sentence_transformers.models.CLIPModel", "0_CLIPModel"),
        ("sentence_transformers.models.WordEmbeddings", "0_WordEmbeddings"),
    ],
)
def test_an_encoder_that_begins_with_no_transformer_is_refused_by_its_modules_name(tmp_path, type_, path):
    (tmp_path / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": path, "type": type_}]))
    (tmp_path / "router_config.json").touch()
    for command in (("run", tmp_path, "-p", "int8"), ("predict", tmp_path, "-p", "int8")):
        done = run_cli(*command)
        assert (done.returncode, done.stderr) == (
            3, f"compress: {tmp_path}/modules.json begins with {type_}, which isn't supported; give a sentence encoder "
            "that begins with a Transformer\n"
        )  # fmt: skip
