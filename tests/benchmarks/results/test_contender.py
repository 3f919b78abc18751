"""Contenders of a run, and what their files say."""

import dataclasses

import pytest

from compress.benchmarks.results.contender import Contender
from compress.errors import ModelError
from compress.modeling.kinds import DECODER


def test_nothing_to_load_is_told(tmp_path, llama_plain):
    with pytest.raises(ModelError, match="nothing to load"):
        Contender.of_artifact(dataclasses.replace(llama_plain, path=tmp_path), "x", "")
    with pytest.raises(ModelError, match="tpu"):
        Contender.of_artifact(dataclasses.replace(llama_plain, target="tpu"), "x", "")


def test_the_original_takes_its_sizes_from_its_weights(llama, monkeypatch):
    class Checkpoint:
        path, kind = llama, DECODER

    contender = Contender.of_checkpoint(Checkpoint(), 1234)
    assert contender.disk_bytes == (llama / "model.safetensors").stat().st_size
    assert (contender.parameters, contender.role, contender.engine) == (1234, "original", "torch")
