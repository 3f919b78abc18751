"""An artifact's facts go through their file."""

import json
from dataclasses import replace

import pytest

from compress.checkpoint.files.artifact import Artifact
from compress.errors import ModelError
from compress.modeling.kinds import SEQ2SEQ


def test_facts_read_back_as_they_were_saved_and_hold_no_path(tmp_path):
    artifact = Artifact(tmp_path, "ort-cpu", SEQ2SEQ, 1000, 900, 800, zeros=True)
    artifact.save()
    facts = json.loads((tmp_path / "artifact.json").read_text())
    assert facts == {
        "target": "ort-cpu", "kind": "encoder-decoder", "parameters": 1000, "stored_bytes": 900, "read_bytes": 800,
        "zeros": True, "products": False, "context": None,
    }  # fmt: skip
    assert Artifact.open(tmp_path) == artifact
    moved = tmp_path / "moved"
    moved.mkdir()
    (tmp_path / "artifact.json").rename(moved / "artifact.json")
    assert Artifact.open(moved) == replace(artifact, path=moved)


@pytest.mark.parametrize("content", [None, "{", '{"kind": "poet"}', '{"kind": "decoder", "target": "hf"}', "[]"])
def test_a_directory_that_is_none_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "artifact.json").write_text(content)
    with pytest.raises(ModelError, match=f"{tmp_path} is not an artifact: its artifact.json can't be read"):
        Artifact.open(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("target", ["ort-cpu"]),
        ("kind", ["decoder"]),
        ("parameters", "9"),
        ("parameters", 0),
        ("stored_bytes", -1),
        ("read_bytes", 10**400),
        ("zeros", []),
        ("x", 1),
    ],
)
def test_a_fact_of_another_type_is_refused(tmp_path, name, value):
    Artifact(tmp_path, "ort-cpu", SEQ2SEQ, 9, 9, 9).save()
    facts = json.loads((tmp_path / "artifact.json").read_text())
    (tmp_path / "artifact.json").write_text(json.dumps(facts | {name: value}))
    with pytest.raises(ModelError, match=r"is not an artifact: its artifact\.json can't be read"):
        Artifact.open(tmp_path)
