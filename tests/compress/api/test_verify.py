"""A variant is held against its manifest, and its original against what was recorded of it."""

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from compress.api.compress_model import compress_model
from compress.api.verify import original_problems, verify
from compress.checkpoint.files.manifest import Manifest
from compress.checkpoint.model import Model
from compress.errors import ModelError
from tests.support.sentences import dense, pooling, save_sentence_encoder


@pytest.fixture(scope="module")
def made(llama, tmp_path_factory):
    """A model and a variant of it, not to be written to."""
    folder = tmp_path_factory.mktemp("verify")
    model = shutil.copytree(llama, folder / "model")
    compress_model(Model.open(model), "fp16", folder / "fp16")
    return folder


@pytest.fixture
def variant(made, tmp_path):
    return shutil.copytree(made / "fp16", tmp_path / "fp16")


def test_all_is_as_recorded(made, variant):
    result = verify(variant)
    assert result.problems == ()
    assert result.compared == f"{len(Manifest.read(variant).files)} files and the original {made / 'model'}"


def test_a_changed_file_and_a_new_one_are_named(variant):
    (variant / "config.json").write_text("{}")
    (variant / "tokenizer.jinja").write_text("{}")
    for folder in ("1_Pooling", ".cache"):
        (variant / folder).mkdir()
        (variant / folder / "config.json").write_text("{}")
    changed, inside, added = verify(variant).problems
    assert inside == "1_Pooling/config.json is not recorded"
    assert changed.startswith("config.json was changed: its sha256 isn't the recorded ")
    assert added == "tokenizer.jinja is not recorded"


def test_an_artifact_of_elsewhere_is_named(variant):
    (variant / "onnx").mkdir()
    for name in ("artifact.json", "model.onnx"):
        (variant / "onnx" / name).write_text("{}")
    assert verify(variant).problems == ("onnx/artifact.json is not recorded", "onnx/model.onnx is not recorded")


def test_a_variant_without_hashes_is_told_apart(variant):
    manifest = Manifest.read(variant)
    manifest.files = {}
    manifest.save(variant)
    assert verify(variant).problems == (
        "no hashes of its files are recorded, as an older compress made it; make it again",
    )


def test_the_original_may_be_elsewhere_or_nowhere(made, variant, tmp_path):
    manifest = Manifest.read(variant)
    manifest.source = manifest.source.model_copy(update={"name": "nobody/nothing"})
    manifest.save(variant)
    result = verify(variant)
    assert result.problems == ()
    assert result.compared.endswith("the original nobody/nothing is not at hand")
    assert verify(variant, str(made / "model")).problems == ()
    with pytest.raises(ModelError, match="no such directory"):
        verify(variant, str(tmp_path / "gone"))


def test_an_original_of_other_weights_or_another_config_is_told(made, variant, untied, tmp_path):
    model = shutil.copytree(made / "model", tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-3}))
    source = Manifest.read(variant).source
    assert original_problems(source, Model.open(model)) == [
        f"{model} is not the original of these variants: its config.json differs"
    ]
    assert verify(variant, str(model)).problems == (
        f"{model} is not the original of these variants: its config.json differs",
    )
    assert original_problems(source, Model.open(untied))[0].endswith("its weights differ")
    unrecorded = source.model_copy(update={"config_sha256": ""})
    assert original_problems(unrecorded, Model.open(model)) == []


def test_an_original_with_another_tokenizer_or_other_modules_is_told(bert, tmp_path):
    model = save_sentence_encoder(tmp_path / "model", bert, [pooling("mean"), dense(64, 8)], "0_Transformer")
    compress_model(Model.open(model), "fp16", tmp_path / "fp16")
    source = Manifest.read(tmp_path / "fp16").source
    assert original_problems(source, Model.open(model)) == []
    (model / "0_Transformer" / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    (model / "1_Pooling" / "config.json").write_text('{"pooling_mode": "cls", "embedding_dimension": 64}')
    save_file(dense(64, 8)[2] | {"linear.bias": torch.zeros(8)}, model / "2_Dense" / "model.safetensors")
    changed = "is not the original of these variants: its"
    assert original_problems(source, Model.open(model)) == [
        f"{model} {changed} 1_Pooling/config.json differs",
        f"{model} {changed} 2_Dense/model.safetensors differs",
        f"{model} {changed} tokenizer_config.json differs",
    ]
    unrecorded = source.model_copy(update={"files": {}})
    assert original_problems(unrecorded, Model.open(model)) == []


def test_an_original_that_is_broken_is_a_problem(made, variant, tmp_path):
    model = shutil.copytree(made / "model", tmp_path / "model")
    manifest = Manifest.read(variant)
    manifest.source = manifest.source.model_copy(update={"name": str(model)})
    manifest.save(variant)
    (model / "model.safetensors").write_bytes(b"")
    (problem,) = verify(variant).problems
    assert problem.startswith(f"the original can't be read: {model / 'model.safetensors'} is no readable safetensors")
