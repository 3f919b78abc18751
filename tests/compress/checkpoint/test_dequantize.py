"""Checkpoints that are quantized already are read as the floats that they stand for, and compressed as those."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from compress.calibration.data import Calibration
from compress.checkpoint.dequantize import quantized_by
from compress.checkpoint.files.manifest import Manifest
from compress.checkpoint.model import Model
from compress.checkpoint.variant import Variant
from compress.checkpoint.writing.writer import WriteOptions
from compress.errors import ModelError
from compress.export.targets.base import find_target
from compress.formats.base import find_format
from compress.pipeline.parse import Pipeline
from compress.pipeline.run import run_pipeline
from compress.progress import Silent
from compress.weights.forms import Quantized
from tests.support.checkpoints import configure
from tests.support.cli import run_cli
from tests.support.tensors import token_ids


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def quantized(untied: Path, tmp_path: Path) -> Callable[[str, str], Variant]:
    """``quantized(pipeline, format)``: a variant in a format that other programs write as well."""

    def make(pipeline: str, name: str) -> Variant:
        model, target, out = Model.open(str(untied)), find_target("hf"), tmp_path / name
        out.mkdir()
        options = WriteOptions(format=find_format(name))
        data = Calibration(token_ids(2, 24), "test")
        return run_pipeline(model, Pipeline.parse(pipeline), target.capability, out, lambda: data, 0, Silent(), options)

    return make


def meant(variant: Variant, name: str) -> torch.Tensor:
    """The numbers of a matrix, in float32 from its scales on."""
    weight = variant.weight(name)
    return replace(weight, scale=weight.scale.float()).dequantize() if isinstance(weight, Quantized) else weight.tensor


@pytest.mark.parametrize(
    ("pipeline", "name"),
    [
        ("int4:group=32:solver=rtn:head=float:embed=float", "compressed-tensors"),
        ("int4:group=32:solver=rtn:symmetry=asym:head=float:embed=float", "compressed-tensors"),
        ("int8:group=channel:head=float:embed=float", "compressed-tensors"),
        ("int4:group=32:solver=rtn:head=float:embed=float", "gptq"),
        ("int4:group=32:solver=rtn:symmetry=asym:head=float:embed=float", "awq"),
    ],
)
def test_the_floats_are_those_that_were_meant(
    quantized: Callable[[str, str], Variant], pipeline: str, name: str
) -> None:
    variant = quantized(pipeline, name)
    with pytest.raises(ModelError, match="is already quantized .*as floats by --dequantize"):
        Model.open(variant.path)
    progress = Silent()
    model = Model.open(variant.path, progress=progress, dequantize=True)
    assert model.quantized_by == quantized_by(variant.path) == name
    assert model.names == variant.names
    assert any("is read as floats" in notice for notice in progress.notices)
    for matrix in model.matrices:
        tensor = model.weight(matrix).tensor
        assert torch.equal(tensor, meant(variant, matrix).to(tensor.dtype))
        if isinstance(variant.weight(matrix), Quantized):
            assert tensor.dtype == model.config.dtype
    again = Silent()
    assert Model.open(variant.path, progress=again, dequantize=True).digest == model.digest
    assert not any("is read as floats" in notice for notice in again.notices)


def test_the_type_is_that_of_the_config(quantized: Callable[[str, str], Variant]) -> None:
    variant = quantized("int8:group=channel:head=float:embed=float", "compressed-tensors")
    configure(variant.path, dtype="bfloat16")
    model = Model.open(variant.path, dequantize=True)
    name = next(name for name in model.matrices if "up_proj" in name)
    assert model.tensor(name).dtype == torch.bfloat16
    assert torch.equal(model.tensor(name), meant(variant, name).bfloat16())


def test_a_run_records_what_its_floats_are_from(quantized: Callable[[str, str], Variant], tmp_path: Path) -> None:
    variant, out = quantized("int8:group=channel:head=float:embed=float", "compressed-tensors"), tmp_path / "out"
    command = ["run", str(variant.path), "-p", "fp16", "--target", "hf", "-o", str(out), "--no-score"]
    refused = run_cli(*command)
    assert refused.returncode == 3
    assert "--dequantize" in refused.stderr
    done = run_cli(*command, "--dequantize")
    assert done.returncode == 0, done.stderr
    assert Manifest.read(out / "fp16").source.dequantized == "compressed-tensors"
    assert run_cli("verify", str(out / "fp16")).returncode == 0


def test_a_float_checkpoint_is_read_as_it_is(untied: Path) -> None:
    assert Model.open(untied, dequantize=True).quantized_by is None
    assert quantized_by(untied) is None


def test_damage_is_told_in_a_line(quantized: Callable[[str, str], Variant], cache: Path) -> None:
    variant = quantized("int4:group=32:solver=rtn:head=float:embed=float", "gptq")
    file = variant.path / "model.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if name.endswith("scales"))
    save_file({**tensors, name: tensors[name][:1, :3].contiguous()}, file, {"format": "pt"})
    (variant.path / "SHA256SUMS").unlink()
    with pytest.raises(ModelError, match=r"_proj in .* can't be read as gptq \(.*\); the checkpoint is damaged"):
        Model.open(variant.path, dequantize=True)
    assert not list(cache.rglob("model.safetensors"))


def test_a_method_that_is_not_read_is_refused(untied: Path, tmp_path: Path) -> None:
    config = json.loads((untied / "config.json").read_text()) | {"quantization_config": {"quant_method": "hqq"}}
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="weights quantized by hqq can't be read as floats"):
        Model.open(tmp_path / "model", dequantize=True)
