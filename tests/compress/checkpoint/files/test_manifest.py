"""A manifest goes through its file unchanged, and what is none is told in one line."""

import json
import os
import subprocess
import sys

import pytest

from compress.checkpoint.files.manifest import LayerReport, Manifest, Source
from compress.errors import ModelError
from compress.weights.stored import StoredForm, WeightReport

SOURCE = Source(
    name="llama", sha256="0" * 64, architecture="Llama", kind="decoder", parameters=1000, nbytes=4000, tied=True
)


def manifest(**options):
    facts = {"pipeline": "p", "recipe": ["p"], "seed": 0, "calibration": "none", "versions": {}, "machine": {}}
    return Manifest(source=SOURCE, **{**facts, **options})


def report(solver="gptq", error=0.01, weight_error=0.02):
    return WeightReport(solver=solver, error=error, weight_error=weight_error)


def test_it_reads_back_as_it_was_saved(tmp_path):
    saved = manifest(
        weights={"a.weight": StoredForm(form="quantized", shape=(4, 8), nbytes=24, bits=4, group=8)},
        layers={"a": LayerReport(seconds=0.5, weights={"a.weight": report(error=None)})},
    )
    saved.save(tmp_path)
    assert Manifest.read(tmp_path) == saved
    assert json.loads((tmp_path / "compress.json").read_text())["layers"]["a"]["weights"]["a.weight"]["error"] is None


def test_sizes_count_matrices_and_vectors():
    stored = {name: StoredForm(form="dense", shape=(2, 8), nbytes=64) for name in ("a.weight", "b.weight")}
    actual = manifest(weights=stored, vector_nbytes=12)
    assert actual.nbytes == 140
    assert actual.bits_per_weight == 1.12


def test_a_title_names_no_path(tmp_path):
    names = {str(tmp_path): tmp_path.name, "demo:smollm2": "smollm2", "some/model": "some/model"}
    assert [SOURCE.model_copy(update={"name": name}).title for name in names] == list(names.values())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not a variant: it has no compress.json; `compress run` makes variants"),
        (b"{", "compress.json can't be read: Invalid JSON"),
        (b"\xff\xfe", "compress.json can't be read: Invalid JSON"),
        (b"[]", "compress.json can't be read: Input should be an object; make the variant again"),
        (b"{}", "compress.json can't be read: source: Field required; make the variant again"),
    ],
)
def test_what_is_no_manifest_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "compress.json").write_bytes(content)
    with pytest.raises(ModelError) as error:
        Manifest.read(tmp_path)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"parameters": 1000', '"parameters": 0', "source.parameters: Input should be greater than 0"),
        ('"nbytes": 4000', '"nbytes": -1', "source.nbytes: Input should be greater than 0"),
        (
            '"parameters": 1000',
            f'"parameters": {10**400}',
            "source.parameters: Input should be less than or",
        ),
        ('"vector_nbytes": 0', '"vector_nbytes": -1', "vector_nbytes: Input should be greater than or equal to 0"),
        ("4,\n", "0,\n", "weights.a.weight.shape.0: Input should be greater than 0"),
    ],
)
def test_counts_that_no_model_has_are_refused(tmp_path, old, new, message):
    manifest(weights={"a.weight": StoredForm(form="dense", shape=(4, 8), nbytes=128)}).save(tmp_path)
    text = (tmp_path / "compress.json").read_text()
    assert old in text
    (tmp_path / "compress.json").write_text(text.replace(old, new, 1))
    with pytest.raises(ModelError, match=f"compress.json can't be read: {message}"):
        Manifest.read(tmp_path)


def test_what_is_no_file_of_a_variants_own_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "compress.json")
    with pytest.raises(ModelError, match=r"compress\.json is no regular file; put the file itself there"):
        Manifest.read(tmp_path)
    (tmp_path / "compress.json").unlink()
    with (tmp_path / "compress.json").open("wb") as file:
        file.truncate(65 << 20)  # takes no space
    with pytest.raises(ModelError, match=r"compress\.json is larger than 64 MiB"):
        Manifest.read(tmp_path)


def test_reading_needs_no_torch():
    command = [sys.executable, "-c", "import sys, compress.checkpoint.files.summary; assert 'torch' not in sys.modules"]
    subprocess.run(command, check=True)
