"""What a path that is no checkpoint is, as people have them, and what to give in its place."""

import json

import pytest

from compress.checkpoint.files.manifest import Manifest
from compress.errors import ModelError
from compress.modeling.no_checkpoint import explain, foreign_weights
from tests.support.cli import run_cli

NONE = "is not a checkpoint: it has no config.json"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], ""),
        (["notes.txt"], ""),
        (["org/model/config.json"], "; give {}/org/model"),
        (["snapshots/0123abcd/config.json", "refs/main", "blobs/0123"], "; give {}/snapshots/0123abcd"),
        (["0_Transformer/config.json", "1_Pooling/note"], "; give {}/0_Transformer"),
        (
            ["checkpoint-500/config.json", "checkpoint-1000/config.json", "trainer_state.json"],
            "; give the last of its checkpoints, {}/checkpoint-1000",
        ),
        (["run-1/checkpoint-5/adapter_config.json"], "; give {}/run-1/checkpoint-5"),
        ([f"{name}/config.json" for name in "abcde"], "; give one of those in it: {0}/a, {0}/b, {0}/c and 2 more"),
        ([".cache/config.json"], ""),
        (
            ["model.Q4_K_M.gguf", "README.md"],
            "; model.Q4_K_M.gguf in it is a GGUF file: give the checkpoint that it",
        ),
        (["onnx/model.onnx"], "; onnx/model.onnx in it is an ONNX graph: give the checkpoint that it was made from"),
        (["consolidated.00.pth", "params.json"], "; consolidated.00.pth in it is a model in its maker's own format: "),
        (
            ["model.safetensors"],
            "; model.safetensors in it is a file of weights: give the directory that has its",
        ),
        (["tf_model.h5"], "; tf_model.h5 in it is a model of TensorFlow or Flax: give its checkpoint for PyTorch"),
        (
            ["model_index.json", "unet/config.json"],
            "; model_index.json in it is a pipeline of diffusers: those",
        ),
        (["data/train-00000.parquet", "README.md"], "; data/train-00000.parquet in it is a file of data: data is for "),
    ],
)
def test_a_folder(tmp_path, files, message):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    reason = explain(tmp_path)
    assert reason.startswith(f"{tmp_path} {NONE}{message.format(tmp_path)}")
    assert message or reason == f"{tmp_path} {NONE}"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.gguf", "is a GGUF file; give the checkpoint that it was made from"),
        ("model.ONNX", "is an ONNX graph; give the checkpoint that it was made from"),
        ("model.tar.gz", "is an archive; unpack it, and give the directory in it"),
        ("train.jsonl", "is a file of data; data is for --calibration and --eval"),
        ("model.safetensors", "is a file of weights; give the directory that has its config.json too"),
        ("model", "is a file; give the directory of its checkpoint"),
    ],
)
def test_a_file(tmp_path, name, message):
    (tmp_path / name).touch()
    assert explain(tmp_path / name) == f"{tmp_path / name} {message}"


def test_a_file_of_a_checkpoint(tmp_path):
    for name in ("config.json", "model.safetensors", "model.onnx"):
        (tmp_path / name).touch()
    for name in ("config.json", "model.safetensors"):
        assert explain(tmp_path / name).endswith(f" is a file; give the directory of its checkpoint, {tmp_path}")
    assert explain(tmp_path / "model.onnx").endswith("is an ONNX graph; give the checkpoint that it was made from")
    assert explain(tmp_path / "none") == f"{tmp_path / 'none'}: no such directory"


def test_weights_of_other_programs(tmp_path):
    assert foreign_weights(tmp_path) == ""
    (tmp_path / "flax_model.msgpack").touch()
    assert foreign_weights(tmp_path) == (
        "; flax_model.msgpack in it is a model of TensorFlow or Flax: give its checkpoint for PyTorch"
    )


def test_a_folder_of_thousands_is_no_work(tmp_path, monkeypatch):
    monkeypatch.setattr("compress.modeling.no_checkpoint._MOST_ENTRIES", 3)
    for i in range(9):
        (tmp_path / str(i) / "x" / "y").mkdir(parents=True)
    assert explain(tmp_path) == f"{tmp_path} {NONE}"


def test_in_place_of_what_is_no_variant_those_in_it_or_around_it_are_named(tmp_path):
    for name in ("int4", "int8"):
        (tmp_path / name / "onnx").mkdir(parents=True)
        (tmp_path / name / "compress.json").touch()
    for path, hint in (
        (tmp_path, f"give one of those in it: {tmp_path}/int4, {tmp_path}/int8"),
        (tmp_path / "int4" / "onnx", f"give {tmp_path}/int4"),
        (tmp_path / "int8" / "compress.json", f"give {tmp_path}/int8"),
    ):
        with pytest.raises(ModelError) as error:
            Manifest.read(path)
        assert str(error.value) == f"{path} is not a variant: it has no compress.json; {hint}"


def test_through_the_command_line(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet50"}))  # timm's
    (tmp_path / "model.gguf").touch()
    out, gguf = tmp_path / "out", "model.gguf is a GGUF file; give the checkpoint that it was made from\n"
    for args, message in (
        (("run", tmp_path, "-o", out), "/config.json has no model_type; give a checkpoint that transformers loads\n"),
        (("run", tmp_path / "model.gguf", "-o", out), gguf),
        (("predict", tmp_path / "model.gguf"), gguf),
    ):
        done = run_cli(*args, "-p", "int8")
        assert (done.returncode, len(done.stderr.splitlines())) == (3, 1)
        assert done.stderr.endswith(message)
