"""Shards are written when they are full, and hashed once, as they are written."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from compress.checkpoint.files import hashes, shard_writer, shards
from compress.checkpoint.files.shard_writer import ShardWriter
from compress.checkpoint.model import Model
from compress.checkpoint.variant import Variant
from compress.checkpoint.writing.writer import WriteOptions
from compress.errors import ModelError
from compress.export.targets.base import find_target
from compress.pipeline.parse import Pipeline
from compress.pipeline.resolve import resolve
from compress.pipeline.run import run_pipeline
from compress.progress import Silent


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are hashed while a test runs."""
    names: list[str] = []
    real = hashes.sha256

    def counting(file: Path) -> str:
        names.append(file.name)
        return real(file)

    for module in (hashes, shards, shard_writer):
        monkeypatch.setattr(module, "sha256", counting)
    return names


def test_a_shard_is_written_when_it_is_full(tmp_path: Path, hashed: list[str]) -> None:
    tensors = {name: torch.full((4,), i, dtype=torch.float32) for i, name in enumerate("abc")}
    writer = ShardWriter(tmp_path, 32, tensors.__getitem__)
    for name, tensor in tensors.items():
        writer.put(name, tensor)
    writer.finish()
    files = [tmp_path / f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    assert [sorted(load_file(file)) for file in files] == [["a", "b"], ["c"]]
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"] == {"total_size": 48}
    assert index["weight_map"] == {"a": files[0].name, "b": files[0].name, "c": files[1].name}
    digests = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    assert (tmp_path / "SHA256SUMS").read_text() == "".join(digests)
    assert hashed == ["model-00001.safetensors", "model-00002.safetensors"]


def test_a_variant_is_hashed_once_and_verified_when_it_is_opened_again(
    llama: Path, tmp_path: Path, hashed: list[str]
) -> None:
    model, capability = Model.open(llama), find_target("hf").capability
    pipeline = resolve(model, Pipeline.parse("int8"), capability)
    hashed.clear()
    run_pipeline(model, pipeline, capability, tmp_path, lambda: None, 0, Silent(), WriteOptions())
    weights = [name for name in hashed if name.endswith(".safetensors")]
    assert weights == ["model.safetensors", "model-00001.safetensors"]  # the source's, then the variant's
    assert len(set(hashed)) == len(hashed)
    hashed.clear()
    Variant.open(tmp_path, verify=False)
    assert hashed == []
    Variant.open(tmp_path)
    assert hashed == ["model.safetensors"]


def test_damage_is_found_unless_verification_is_off(llama: Path, tmp_path: Path) -> None:
    model, capability = Model.open(llama), find_target("hf").capability
    pipeline = resolve(model, Pipeline.parse("int8"), capability)
    run_pipeline(model, pipeline, capability, tmp_path, lambda: None, 0, Silent(), WriteOptions())
    file = tmp_path / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    Variant.open(tmp_path, verify=False)
    with pytest.raises(ModelError, match="is damaged"):
        Variant.open(tmp_path)
