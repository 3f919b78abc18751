"""``compress inspect`` on a variant that the main job made, and on what is none."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import partial
from xml.etree import ElementTree

import pytest

from compress.checkpoint.files.artifact import Artifact
from compress.checkpoint.files.manifest import LayerReport, Manifest
from compress.weights.stored import WeightReport
from tests.support.cli import ENVIRONMENT, run_cli
from tests.support.manifests import did, manifest, stored


@pytest.fixture
def inspect(inside):
    """Exit code, standard output and standard error of one call."""
    return partial(inside, "inspect")


@pytest.fixture(scope="module")
def plain(llama, tmp_path_factory):
    """A tiny model in 8 bits."""
    out = tmp_path_factory.mktemp("inspect")
    assert run_cli(llama, "-p", "int8:group=32", "-o", out, "--no-score").returncode == 0
    return out / "int8-group-32"


@pytest.fixture
def variant(plain, tmp_path):
    """The same with a report of what was lost: twice as much in every further matrix, and one that fell back."""
    manifest = Manifest.read(plain)
    names = [name for name in manifest.weights if name.startswith("model.layers.")]
    solvers = {names[3]: "rtn (fallback: singular Hessian)"}
    reports = {
        name: WeightReport(solver=solvers.get(name, "gptq"), error=1e-4 * 2**i, weight_error=1e-3)
        for i, name in enumerate(names)
    }
    manifest.layers = {
        layer: LayerReport(seconds=1.5, weights={k: v for k, v in reports.items() if k.startswith(f"{layer}.")})
        for layer in ("model.layers.0", "model.layers.1")
    }
    embedding = WeightReport(solver="rtn", error=None, weight_error=1e-5)
    manifest.layers["tied"] = LayerReport(seconds=0.25, weights={"model.embed_tokens.weight": embedding})
    manifest.save(tmp_path)
    return tmp_path


def cells(text):
    """The rows of a drawn table."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]


def test_a_row_a_layer(variant, inspect, llama):
    done = inspect(variant)
    assert (done.returncode, done.stderr) == (0, "")
    manifest = Manifest.read(variant)
    before, after = manifest.source.nbytes, manifest.nbytes
    assert done.stdout.splitlines()[:4] == [
        f"{llama} (LlamaForCausalLM, 0.1 million parameters)",
        "  recipe       int8:group=32:smooth=off:act=none",
        "  calibration  none",
        f"  weights      {before / 1e6:.1f} MB → {after / 1e6:.1f} MB ({after / before:.2f}×), "
        f"{8 * after / manifest.source.parameters:.2f} bits per weight",
    ]
    # group=32: 8 bits and a scale of 16 bits for 32 of them
    assert cells(done.stdout) == [
        ["tied embedding, head", "8.50", "0.02", "–", "0.001", "rtn ×1", "0.2"],
        ["model.layers.0", "8.50", "0.04", "0.64 mlp.down_proj", "0.1", "gptq ×6, rtn (fallback) ×1", "1.5"],
        ["model.layers.1", "8.50", "0.04", "81.9 mlp.down_proj", "0.1", "gptq ×7", "1.5"],
        ["all matrices", "8.50", "0.10", "81.9 model.layers.1.mlp.down_proj", "0.1",
         "rtn ×1, gptq ×13, rtn (fallback) ×1", "3.2"],
    ]  # fmt: skip
    assert "! 1 matrix fell back to rtn (singular Hessian): model.layers.0.self_attn." in done.stdout


NAMES = {
    "SmolLM2": ("model.embed_tokens", "model.layers.{}.", "self_attn.q_proj", "mlp.down_proj"),
    "GPT-NeoX": ("gpt_neox.embed_in", "gpt_neox.layers.{}.", "attention.query_key_value", "mlp.dense_4h_to_h"),
    "Mixtral": ("model.embed_tokens", "model.layers.{}.", "self_attn.o_proj", "block_sparse_moe.experts.7.w2"),
    "BERT": ("bert.embeddings.word_embeddings", "bert.encoder.layer.{}.", "attention.output.dense", "output.dense"),
    "T5": ("shared", "decoder.block.{}.", "layer.0.SelfAttention.q", "layer.1.EncDecAttention.q"),
}


@pytest.mark.parametrize("family", NAMES)
@pytest.mark.parametrize("arguments", [[], ["--weights"]])
def test_every_row_is_one_line_at_80_columns(tmp_path, inspect, monkeypatch, family, arguments):
    embedding, layer, *local_names = NAMES[family]
    names = [f"{layer.format(i)}{local}.weight" for i in range(12) for local in local_names]
    fell_back, short = (
        "rtn (fallback: only 3 calibration tokens reach it)",
        "gptq (128 calibration tokens, 1024 advised)",
    )
    layers = {
        layer.format(i)[:-1]: LayerReport(
            seconds=1.5,
            weights={names[2 * i]: did(short, 0.0123 / (i + 1)), names[2 * i + 1]: did(fell_back, 0.0456)},
        )
        for i in range(12)
    }
    layers["tied"] = LayerReport(seconds=0.1, weights={f"{embedding}.weight": did("rtn", None)})
    weights = {f"{embedding}.weight": stored(8)} | {name: stored(4) for name in names}
    manifest(weights=weights, layers=layers).save(tmp_path)
    for name, value in {"COLUMNS": "80", "FORCE_COLOR": "1"}.items():
        monkeypatch.setitem(ENVIRONMENT, name, value)
    lines = re.sub(r"\x1b\[\d*m", "", inspect(tmp_path, *arguments).stdout).splitlines()
    rule = next(i for i, line in enumerate(lines) if line.startswith("───"))
    rows = [line.rstrip() for line in lines[rule + 1 :] if not line.startswith("!")]
    assert max(len(line) for line in [*lines[4 : rule + 1], *rows]) <= 80
    assert len(rows) == (25 if arguments else 14)
    assert all(re.search(r"(gptq|rtn!?)( ×\d+)?$", row) for row in rows)
    assert rows[1].split()[0][:2] == ("0." if arguments else "0")


def test_a_picture_appears_complete_or_not_at_all(variant, inspect, tmp_path, monkeypatch):
    file = tmp_path / "plot.png"
    file.write_bytes(b"an earlier one")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert inspect(variant, "--plot", file, "--overwrite").returncode == 4
    assert file.read_bytes() == b"an earlier one"
    assert [name for name in os.listdir(tmp_path) if "partial" in name] == []


def test_a_folder_that_takes_no_picture_is_told_before_the_work(variant, inspect, tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode, **_: mode != os.W_OK)
    monkeypatch.setattr("compress.benchmarks.plots.error_matrix.own_style", None)
    done = inspect(variant, "--plot", tmp_path / "plot.png")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"plot.png: nothing can be written to the directory {tmp_path}; name another file" in done.stderr


def test_a_row_a_matrix(variant, inspect):
    rows = cells(inspect(variant, "--weights").stdout)
    assert len(rows) == 15
    assert rows[0] == ["model.embed_tokens", "quantized", "8", "32", "sym", "float", "21,896", "–", "0.001", "rtn"]
    assert rows[-1] == ["model.layers.1.mlp.down_proj", "quantized", "8", "32", "sym", "float", "8,704", "81.9", "0.1",
                        "gptq"]  # fmt: skip
    assert rows[4][-1] == "rtn (fallback: singular Hessian)"


def test_the_same_facts_as_json(variant, inspect):
    facts = json.loads(inspect(variant, "--json").stdout)
    manifest = Manifest.read(variant)
    assert facts["source"]["sha256"] == manifest.source.sha256
    assert facts["nbytes"] == manifest.nbytes
    assert [layer["name"] for layer in facts["layers"]] == ["tied", "model.layers.0", "model.layers.1"]
    assert facts["layers"][1]["worst"] == "model.layers.0.mlp.down_proj"
    assert facts["layers"][2]["weights"][-1] == {
        "name": "model.layers.1.mlp.down_proj", "form": "quantized", "shape": [64, 128], "nbytes": 8704, "bits": 8,
        "group": 32, "symmetric": True, "act": None, "masked": False, "pivoted": False, "parts": {}, "solver": "gptq",
        "error": 1e-4 * 2**13, "weight_error": 1e-3, "underflow": 0,
    }  # fmt: skip
    assert len(facts["fallbacks"]) == 1


def test_an_artifacts_weights_are_told_apart_from_the_rest(variants, inspect):
    artifact = Artifact.open(variants / "int8-fuse" / "onnx")
    rest = sum(file.stat().st_size for file in artifact.path.glob("model.onnx*")) - artifact.stored_bytes
    sizes = f"{artifact.stored_bytes / 1e6:.1f} MB of weights, {rest / 1e6:.1f} MB of graph and tables"
    assert inspect(variants / "int8-fuse").stdout.splitlines()[4] == f"  onnx         {sizes}"


def test_every_parameter_is_counted(plain):
    manifest = Manifest.read(plain)
    matrices = sum(rows * columns for rows, columns in (form.shape for form in manifest.weights.values()))
    assert matrices + manifest.vector_nbytes // 4 == manifest.source.parameters


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("SVG", b"<?xml")])
def test_a_picture_is_drawn(variant, inspect, tmp_path, suffix, magic):
    file = tmp_path / "new" / f"plot.{suffix}"
    done = inspect(variant, "--plot", file)
    assert (done.returncode, done.stderr) == (0, f"plot: {file}\n")
    assert file.read_bytes().startswith(magic)
    if suffix == "SVG":
        assert ElementTree.parse(file).getroot().tag.endswith("svg")
    assert inspect(variant, "--plot", file).returncode == 2
    assert inspect(variant, "--plot", file, "--overwrite").returncode == 0


def test_a_variant_that_reports_no_errors_says_so(plain, tmp_path, inspect):
    manifest = Manifest.read(plain)
    manifest.layers = {}
    manifest.save(tmp_path)
    done = inspect(tmp_path)
    assert done.returncode == 0
    assert cells(done.stdout)[1] == ["model.layers.0", "8.50", "0.04", "–", "–", "–", "–"]
    assert done.stderr == "note: no errors are available: no pass of this recipe measured outputs\n"
    done = inspect(tmp_path, "--plot", tmp_path / "plot.png")
    assert (done.returncode, done.stdout) == (2, "")
    assert not (tmp_path / "plot.png").exists()


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["EMPTY"], 3, "empty is not a variant: it has no compress.json; `compress run` makes variants"),
        (["nowhere"], 3, "nowhere is not a variant"),
        (["VARIANT", "--plot", "plot.xyz"], 2, "plot.xyz: pictures are .png, .svg, .pdf"),
        (["VARIANT", "--plot", "plot"], 2, "plot: pictures are .png, .svg, .pdf"),
        (["VARIANT", "--plot", "file/in/plot.png"], 2, "/file is no directory; name another file"),
        (["VARIANT", "--plot", "dir.png"], 2, "dir.png is a directory; name a file"),
        ([], 2, "VARIANT"),
    ],
)
def test_a_mistake_is_told_in_one_line(variant, inspect, tmp_path_factory, monkeypatch, args, code, message):
    here = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(here)
    (here / "empty").mkdir()
    (here / "dir.png").mkdir()
    (here / "file").touch()
    done = inspect(*({"VARIANT": variant, "EMPTY": here / "empty"}.get(arg, arg) for arg in args))
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert sorted(path.name for path in here.iterdir()) == ["dir.png", "empty", "file"]


def test_neither_torch_nor_matplotlib_is_loaded(variant):
    command = [sys.executable, "-X", "importtime", "-m", "compress", "inspect", str(variant)]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert " torch" not in loaded
    assert " matplotlib" not in loaded
    assert " compress.checkpoint.files.summary" in loaded
