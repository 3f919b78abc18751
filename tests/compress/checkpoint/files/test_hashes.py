"""Files of a variant are held against the hashes in its manifest."""

import hashlib
import json
import os

import pytest

from compress.checkpoint.files.hashes import (
    config_digest,
    mismatches,
    own_files,
    record_additions,
    record_artifact,
    recorded,
    sha256,
    unrecorded,
)
from compress.checkpoint.files.manifest import Manifest
from compress.errors import ModelError
from compress.progress import Silent
from tests.support.manifests import manifest

DIGEST = hashlib.sha256(b"new").hexdigest()


@pytest.fixture
def variant(tmp_path):
    """A variant with an artifact whose files are recorded."""
    for name in ("config.json", "model.safetensors", "README.md", "onnx/artifact.json", "onnx/model.onnx"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    facts = manifest(files=own_files(tmp_path, {"model.safetensors": "known"}))
    record_artifact(tmp_path, facts, "onnx")
    return tmp_path, facts


def test_a_file_is_hashed(tmp_path):
    (tmp_path / "x").write_bytes(b"x" * 10_000_000)
    assert sha256(tmp_path / "x") == hashlib.sha256(b"x" * 10_000_000).hexdigest()


def test_a_config_is_the_same_however_it_is_laid_out(tmp_path):
    digests = []
    for text in ('{"a": 1, "b": [2]}', '{ "b":[2],\n"a":1 }', '{"a": 1, "b": [3]}'):
        (tmp_path / "config.json").write_text(text)
        digests.append(config_digest(tmp_path))
    assert digests[0] == digests[1] != digests[2]
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config.json can't be read"):
        config_digest(tmp_path)


def test_what_is_recorded(variant):
    path, facts = variant
    assert Manifest.read(path).files == facts.files
    assert list(facts.files) == ["config.json", "model.safetensors", "onnx/artifact.json", "onnx/model.onnx"]
    assert facts.files["model.safetensors"] == "known"  # hashed as it was written, and not again
    assert list(recorded(facts, "onnx")) == ["onnx/artifact.json", "onnx/model.onnx"]
    assert list(recorded(facts, "")) == ["config.json", "model.safetensors"]
    assert recorded(facts, "on") == {}


def test_an_artifact_takes_the_place_of_the_one_before(variant):
    path, facts = variant
    (path / "onnx/model.onnx").rename(path / "onnx/other.onnx")
    (path / "onnx/artifact.json").write_text("new")
    record_artifact(path, facts, "onnx")
    assert list(recorded(facts, "onnx")) == ["onnx/artifact.json", "onnx/other.onnx"]
    (path / "artifact.json").write_text("new")
    (path / "config.json").write_text("changed")
    record_artifact(path, facts, "")
    assert facts.files["artifact.json"] == DIGEST
    assert "config.json was changed" in " ".join(
        next(mismatches(path, {"config.json": facts.files["config.json"]}, Silent()))
    )


def test_what_comes_later_is_added(variant):
    path, facts = variant
    before = dict(facts.files)
    (path / "onnx/model.engine").write_text("new")
    (path / "onnx/model.onnx").write_text("changed")
    record_additions(path, facts, "onnx")
    assert Manifest.read(path).files == before | {"onnx/model.engine": DIGEST}
    record_additions(path, facts, "")
    assert facts.files == before | {"onnx/model.engine": DIGEST}


def test_what_is_not_as_recorded_is_named(variant):
    path, facts = variant
    hashes = {name: digest for name, digest in facts.files.items() if digest != "known"}
    assert list(mismatches(path, hashes, Silent())) == []
    (path / "onnx/model.onnx").write_text("changed")
    (path / "config.json").unlink()
    os.mkfifo(path / "config.json")
    more = {"../secret": DIGEST, "/etc/passwd": DIGEST, "gone": DIGEST}
    assert list(mismatches(path, hashes | more, Silent())) == [
        ("config.json", "is missing"),
        ("onnx/model.onnx", f"was changed: its sha256 isn't the recorded {hashes['onnx/model.onnx'][:12]}…"),
        ("../secret", "is outside the variant"),
        ("/etc/passwd", "is outside the variant"),
        ("gone", "is missing"),
    ]


def test_what_a_loader_may_read_is_to_be_recorded(variant):
    path, facts = variant
    for name in ("notes.txt", "tokenizer.json", "onnx/custom.so", ".gitattributes"):
        (path / name).write_text(json.dumps({}))
    assert unrecorded(path, facts, "") == ["tokenizer.json"]
    assert unrecorded(path, facts, "onnx") == ["onnx/custom.so"]
