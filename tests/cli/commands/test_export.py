"""Exports of a variant to other formats and targets, and what is refused before the work."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil

import gguf
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from compress.api.score_plan import plan_score
from compress.api.target_set import TargetSet
from compress.checkpoint.variant import Variant

INT4 = "int4:solver=rtn:head=float:embed=float"


@pytest.fixture
def make_variant(untied, tmp_path, inside):
    """``make_variant(pipeline, *options)``: a variant in ``tmp_path / "out"``."""

    def make(pipeline, *options):
        done = inside(untied, "-p", pipeline, "-o", tmp_path / "out", "--no-score", *options)
        assert done.returncode == 0, done.stderr
        return next((tmp_path / "out").iterdir())

    return make


def numbers(path):
    variant = Variant.open(path)
    return {name: variant.weight(name) for name in variant.manifest.weights}


def test_a_variant_is_exported_again_from_its_integers(variants, tmp_path, inside):
    out = shutil.copytree(variants, tmp_path / "out")
    done = inside("export", out / "int8-fuse", "--target", "ort-cpu", "-o", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again" / "model.onnx.data").read_bytes() == (
        out / "int8-fuse/onnx/model.onnx.data"
    ).read_bytes()
    assert inside("export", out / "int8-fuse", "-o", tmp_path / "again").returncode == 2
    assert inside("export", out / "int8-fuse").returncode == 0


def test_a_run_writes_the_format_that_is_asked_for(make_variant):
    path = make_variant(INT4, "--target", "hf", "--format", "gptq", "--max-shard-size", "30KB")
    config = json.loads((path / "quantize_config.json").read_text())
    assert (config["bits"], config["group_size"], config["checkpoint_format"]) == (4, 32, "gptq")
    index = json.loads((path / "model.safetensors.index.json").read_text())["weight_map"]
    assert index["model.layers.0.mlp.up_proj.qweight"] != index["model.layers.1.mlp.up_proj.qweight"]
    assert json.loads((path / "compress.json").read_text())["format"] == "gptq"


def test_an_artifact_serves_texts_of_the_context_that_is_asked_for(variants, tmp_path, inside):
    """genai, `generate` and `score` keep to it; the model itself takes in 128 tokens."""
    out = shutil.copytree(variants, tmp_path / "out") / "int8-fuse"
    facts = {}
    for context in ("32", "128"):
        done = inside("export", out, "--context", context)
        assert done.returncode == 0, done.stderr
        facts[context] = json.loads((out / "onnx" / "genai_config.json").read_text())
        assert json.loads((out / "onnx" / "artifact.json").read_text())["context"] == int(context)
        assert plan_score([out], TargetSet.parse("ort-cpu")).model.longest_text == int(context)
    assert [facts[key]["model"]["context_length"] for key in facts] == [32, 128]
    assert [facts[key]["search"]["max_length"] for key in facts] == [32, 128]
    assert inside("export", out, "--context", "32").returncode == 0
    long = inside("generate", out, "the quick " * 20)
    assert (long.returncode, long.stderr) == (
        2, f"compress: the prompt has 41 tokens, and {out / 'onnx'} serves texts of 32; shorten it\n"
    )  # fmt: skip
    done = inside("generate", out, "the quick " * 10, "-n", "500")
    assert done.returncode == 0, done.stderr
    assert inside("verify", out).returncode == 0
    assert inside("export", out).returncode == 0
    assert json.loads((out / "onnx" / "artifact.json").read_text())["context"] is None


@pytest.mark.parametrize(("options", "message"), [
    (["--context", "129"], r"--context 129 exceeds the longest input of .*int8-fuse, 128 tokens"),
    (["--context", "64", "--target", "hf"], r"--context is for targets that have a graph, such as ort-cpu; hf .*"),
])  # fmt: skip
def test_a_context_that_can_not_be_is_refused(variants, inside, llama, options, message):
    for command in (["export", variants / "int8-fuse"], [llama, "-p", "int8"]):
        done = inside(*command, *options)
        assert done.returncode == 2
        assert re.fullmatch(f"compress: {message.replace('int8-fuse', '')}\n", done.stderr), done.stderr


def test_a_context_is_for_decoders(bert, tmp_path, inside):
    done = inside(bert, "-p", "int8", "--context", "8", "-o", tmp_path / "out")
    assert (done.returncode, done.stderr) == (
        2, f"compress: --context is for decoders, and {bert} is of kind encoder; leave it out\n"
    )  # fmt: skip


def test_where_a_graph_comes_from_is_for_targets_that_have_one(make_variant, inside):
    path = make_variant(INT4, "--target", "hf")
    done = inside("export", path, "--target", "hf", "--graph", "traced")
    assert done.returncode == 2
    assert done.stderr.strip().endswith("--graph is for targets that have one, such as ort-cpu; hf has none")
    done = inside("export", path, "--target", "ort-cpu", "--graph", "drawn")
    assert done.returncode == 2
    assert "'drawn' is not one of 'auto', 'built', 'traced'" in done.stderr


def test_another_format_goes_beside_the_variant(make_variant, inside):
    path = make_variant(f"{INT4},fuse")
    done = inside("export", path, "--target", "hf", "--format", "awq")
    assert done.returncode == 0, done.stderr
    copy = path.parent / f"{path.name}-awq"
    assert f"wrote {copy}" in done.stderr
    for name, weight in numbers(path).items():
        again = numbers(copy)[name]
        if name.endswith("_proj.weight"):
            assert torch.equal(again.codes, weight.codes)
            assert torch.equal(again.scale, weight.scale.half())
        else:
            assert torch.equal(again.tensor, weight.tensor)
    again = inside("export", path, "--target", "hf", "--format", "awq")
    assert again.returncode == 2
    assert "--overwrite" in again.stderr
    assert inside("export", path, "--target", "hf", "--format", "awq", "--overwrite").returncode == 0
    done = inside("export", copy)
    assert done.returncode == 0, done.stderr  # its own integers, on another target
    assert (copy / "onnx" / "model.onnx").is_file()


def test_products_are_multiplied_out_on_the_way(make_variant, inside, tmp_path):
    path = make_variant("lowrank:rank=0.4:whiten=off")
    done = inside("export", path, "--target", "hf")
    assert done.returncode == 2
    assert "hf can't hold a product (model.layers.0" in done.stderr
    assert "--merge stores such a matrix multiplied out" in done.stderr
    done = inside("export", path, "--target", "hf", "--merge")
    assert done.returncode == 0, done.stderr
    tensors = load_file(path.parent / f"{path.name}-merged" / "model.safetensors")
    for name, weight in numbers(path).items():
        assert torch.equal(tensors[name], weight.dequantize())
    done = inside("export", path, "--merge", "-o", tmp_path / "onnx")
    assert done.returncode == 0, done.stderr
    assert not json.loads((tmp_path / "onnx" / "artifact.json").read_text())["products"]


def test_other_files_of_the_same_checkpoint_need_a_place(make_variant, inside, tmp_path):
    path = make_variant(INT4, "--target", "hf")
    done = inside("export", path, "--target", "hf", "--max-shard-size", "30KB")
    assert done.returncode == 2
    assert "choose a directory with -o" in done.stderr
    done = inside("export", path, "--target", "hf", "--max-shard-size", "30KB", "-o", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "again").glob("model-*-of-*.safetensors"))) > 3
    assert inside("export", path, "--target", "hf").returncode == 0
    done = inside("export", path, "--max-shard-size", "30KB")
    assert (done.returncode, "--max-shard-size is for checkpoints; give it with --target hf" in done.stderr) == (
        2,
        True,
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["-p", "int4", "--target", "hf", "--format", "gptq"], "format gptq can't hold embeddings in integers"),
        (
            ["-p", f"{INT4}:mixed=4.5", "--target", "hf", "--format", "gptq"],
            "or build the variant with --target hf without --format and export it afterwards",
        ),
        (["-p", INT4, "--target", "hf", "--format", "gpqt"], "unknown format 'gpqt'; did you mean 'gptq'?"),
        (["-p", INT4, "--format", "gptq"], "--format is for --target hf; ort-cpu has one of its own"),
        (["-p", INT4, "--max-shard-size", "2 parsec"], "'2 parsec' is not a size; write it like 2GB or 500MiB"),
        (["-p", INT4, "--max-shard-size", "0GB"], "'0GB' is not a size"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_work(untied, inside, tmp_path, args, message):
    done = inside(untied, *args, "-o", tmp_path / "out", "--no-score")
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_bits_that_a_target_lacks_are_refused(make_variant, inside):
    path = make_variant(INT4.replace("int4", "int3"), "--target", "hf")
    done = inside("export", path, "--target", "gguf")
    assert done.returncode == 2
    assert "gguf can't hold 3 bits (model.layers.0" in done.stderr


def test_a_file_for_llama_cpp(make_variant, inside, untied, tmp_path):
    path = make_variant("int4:solver=rtn,fuse")
    done = inside("export", path, "--target", "gguf")
    assert done.returncode == 0, done.stderr
    kinds = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(path / "gguf" / "model.gguf").tensors}
    assert (kinds["blk.0.attn_q.weight"], kinds["output.weight"], kinds["blk.0.attn_norm.weight"]) == (
        "Q4_0", "Q8_0", "F32",
    )  # fmt: skip
    done = inside(untied, "-p", "int8:group=channel:act=none", "--target", "gguf", "-o", tmp_path / "b", "--no-score")
    assert done.returncode == 0, done.stderr
    done = inside(untied, "-p", "int8:asym", "--target", "gguf", "-o", tmp_path / "c", "--no-score")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "gguf can't hold 8 bits with zero points" in done.stderr
    assert not (tmp_path / "c").exists()


def test_a_graph_for_tensorrt_ends_without_an_engine_where_there_is_no_gpu(
    make_variant, inside, untied, tmp_path, monkeypatch
):
    monkeypatch.setattr("compress.export.trt.build.find_spec", lambda name: None)
    path = make_variant(f"{INT4},fuse")
    done = inside("export", path, "--target", "tensorrt")
    assert done.returncode == 5
    assert done.stderr.splitlines()[-1].startswith("compress: no engine was built: that takes an NVIDIA GPU")
    folder = path / "tensorrt"
    assert {file.name for file in folder.iterdir()} >= {"model.onnx", "model.onnx.data", "build.sh", "artifact.json"}
    done = inside(untied, "-p", INT4, "--target", "tensorrt", "-o", tmp_path / "b", "--no-score")
    assert done.returncode == 5
    assert next((tmp_path / "b").rglob("model.onnx")).is_file()
    done = inside(untied, "-p", "int4", "--target", "tensorrt", "-o", tmp_path / "c", "--no-score")
    assert done.returncode == 2
    assert "tensorrt can't hold embeddings in integers" in done.stderr
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("target", "writer"),
    [
        ("ort-cpu", "export.lowering.external_data.ExternalData.write"),
        ("hf", "checkpoint.files.shard_writer.save_file"),
    ],
)
def test_a_full_disk_leaves_nothing(untied, inside, tmp_path, monkeypatch, target, writer):
    def full(*args, **options):
        if target == "hf":
            raise SafetensorError("I/O error: No space left on device (os error 28)")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(f"compress.{writer}", full)
    done = inside(untied, "-p", INT4, "--target", target, "-o", tmp_path / "out", "--no-score")
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1
    assert "No space left on device" in done.stderr
    assert "free disk space or choose another output" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_differs_in_its_graph_alone_is_solved_once(untied, tmp_path, inside):
    out = tmp_path / "out"
    done = inside(untied, "-p", INT4, "-p", f"fuse,{INT4}", "-o", out, "--no-score")
    assert done.returncode == 0, done.stderr
    first, second = (
        out / name for name in ("int4-solver-rtn-head-float-embed-float", "fuse-int4-solver-rtn-head-float-embed-float")
    )
    first_manifest, other = Variant.open(first).manifest, Variant.open(second).manifest
    assert (other.pipeline, other.recipe) == (f"fuse,{INT4}", ["fuse", *first_manifest.recipe])
    assert other.layers == first_manifest.layers
    for name, weight in numbers(first).items():
        assert torch.equal(numbers(second)[name].dequantize(), weight.dequantize())
    assert f", fuse,{INT4}\n" in (second / "README.md").read_text()
    assert (second / "onnx" / "model.onnx").is_file()


def test_a_directory_of_somebody_elses_is_not_overwritten(variants, tmp_path, inside):
    documents = tmp_path / "Documents"
    documents.mkdir()
    (documents / "thesis.odt").write_text("years of work")
    done = inside("export", variants / "fuse", "-o", documents, "--overwrite")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert f"{documents} is not overwritten, as no variant, artifact or report is in it; choose" in done.stderr
    assert [path.name for path in documents.iterdir()] == ["thesis.odt"]
    shutil.copytree(variants / "fuse" / "onnx", tmp_path / "artifact")
    assert inside("export", variants / "fuse", "-o", tmp_path / "artifact", "--overwrite").returncode == 0
