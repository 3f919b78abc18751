"""Which directories are this program's: those with a variant, an artifact or a report in them and nothing else."""

import json

import pytest

from compress.system.ownership import foreign_entry, foreign_report


@pytest.fixture
def folder(tmp_path):
    def make(*files, listed=None):
        for name in files:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        if listed is not None:
            (tmp_path / "compress.json").write_text(json.dumps({"files": dict.fromkeys(listed, "")}))
        return tmp_path

    return make


def test_nothing_of_ours(folder):
    assert foreign_entry(folder()) == ""
    assert foreign_entry(folder("model.safetensors", "config.json")) == ""


def test_a_variant_holds_what_its_manifest_lists(folder):
    files = ["model.safetensors", "vocab.txt", "onnx/model.onnx", "1_Pooling/config.json", "modeling.py"]
    assert foreign_entry(folder(*files, "README.md", "SHA256SUMS", listed=files)) is None
    assert foreign_entry(folder("onnx/notes.md")) == "onnx/notes.md"


@pytest.mark.parametrize("name", ["notes.txt", "config.json", "onnx/model.onnx", ".git/HEAD", "README.md/x"])
def test_what_it_does_not_list_is_foreign(folder, name):
    assert foreign_entry(folder("model.safetensors", name, listed=["model.safetensors"])) == name


def test_an_artifact_may_have_come_later(folder):
    variant = folder("a.safetensors", "tensorrt/artifact.json", "tensorrt/engine.plan", listed=["a.safetensors"])
    assert foreign_entry(variant) is None
    (variant / "tensorrt" / "notes.txt").touch()
    assert foreign_entry(variant) == "tensorrt/notes.txt"


def test_a_variant_without_a_list_holds_what_variants_hold(folder):
    files = ["compress.json", "model.safetensors", "vocab.txt", "LICENSE", "README.md", "onnx/artifact.json"]
    assert foreign_entry(folder(*files, "onnx/model.onnx", "onnx/model.onnx.data")) is None
    assert foreign_entry(folder("thesis.odt")) == "thesis.odt"


@pytest.mark.parametrize("text", ["{", "[]", '{"files": 5}', "[" * 100_000, "\udcff"])
def test_a_broken_manifest_lists_nothing(folder, text):
    (folder("model.safetensors", "code.py") / "compress.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert foreign_entry(folder()) == "code.py"


def test_an_artifact_and_a_report(folder, tmp_path):
    assert foreign_entry(folder("artifact.json", "model.onnx", "model.onnx.data.1", "tokenizer.json")) is None
    assert foreign_entry(folder("photo.jpg")) == "photo.jpg"


def test_a_report(folder):
    assert foreign_entry(folder("report.md", "report.json", "report.pareto.svg", ".out.01234567.partial/x")) is None
    assert foreign_entry(folder("int8/compress.json")) == "int8/compress.json"


def test_a_file_named_report_is_no_report(folder):
    assert foreign_entry(folder("report.docx", "report.md")) == ""


def test_links_are_foreign(folder, tmp_path):
    variant = folder("report.md")
    (variant / "report.json").symlink_to("report.md")
    assert foreign_entry(variant) == "report.json"


@pytest.mark.parametrize(
    ("name", "content", "other"),
    [
        ("compress.json", {"algorithm": "gzip"}, "notes.txt"),
        ("artifact.json", {"contractName": "Token", "abi": []}, "package.json"),
        ("report.json", {"lighthouseVersion": "12", "audits": {}}, "report.html"),
        ("report.json", [{"uri": "a.feature"}], "report.html"),
    ],
)
def test_files_of_other_programs_by_these_names_make_nothing_ours(folder, name, content, other):
    (folder(other) / name).write_text(json.dumps(content))
    assert foreign_entry(folder()) == ""


def test_a_report_replaces_no_file_of_another_program(folder):
    assert foreign_report(folder("notes.txt")) is None
    assert foreign_report(folder("report.md")) is None
    assert foreign_report(folder("report.html", "report.csv")) == "report.csv"
    (folder() / "report.json").write_text('{"lighthouseVersion": "12"}')
    assert foreign_report(folder()) == "report.json"
    for content in ({"bandwidth": 1e10, "rows": []}, {"schema_version": 1, "cards": []}):
        (folder() / "report.json").write_text(json.dumps(content))
        assert foreign_report(folder()) is None
    (folder() / "report.tex").mkdir()
    assert foreign_report(folder()) == "report.tex"
