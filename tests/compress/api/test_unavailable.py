"""Artifacts of targets that can't be run here: why, and what their rows have."""

import contextlib

import pytest

from compress.api.compress_model import compress_model
from compress.api.export import export
from compress.api.score_plan import VariantToScore
from compress.api.target_set import TargetSet
from compress.api.unavailable import unavailable_reasons, unmeasured_row
from compress.checkpoint.model import Model
from compress.errors import MissingComponentError
from compress.onnx_names import CUDA_PROVIDER

SET = "gguf,ort-cuda"


@pytest.fixture(scope="module")
def variant(llama, tmp_path_factory):
    """A variant with both artifacts, of which no machine without a GPU runs the second."""
    path = tmp_path_factory.mktemp("variant") / "int4-fuse"
    compress_model(Model.open(llama), "int4,fuse", path, target=SET)
    export(path, "gguf")
    with contextlib.suppress(MissingComponentError):  # it is written all the same
        export(path, "ort-cuda")
    return VariantToScore.read(path)


def test_a_row_has_the_sizes_and_the_reason(variant):
    gguf, cuda = variant.exported(TargetSet.parse(SET))
    row = unmeasured_row(gguf, "no llama.cpp")
    assert (row.name, row.variant, row.engine, row.recipe) == ("int4-fuse/gguf", "int4-fuse", "llama.cpp", "int4")
    assert (row.unavailable, [applied.text for applied in row.passes]) == ("no llama.cpp", ["int4"])
    assert row.measures["disk_bytes"].value == (gguf.path / "model.gguf").stat().st_size
    assert row.measures["bits_per_weight"].value == gguf.contender().stored_bytes * 8 / row.parameters
    assert (cuda.name, cuda.contender().recipe) == ("int4-fuse/ort-cuda", "int4,fuse")


def test_what_is_not_there_is_made_elsewhere(variant, tmp_path):
    targets = TargetSet.parse(SET)
    gguf, _ = variant.exported(targets)
    (gguf.path / "model.gguf").rename(tmp_path / "model.gguf")
    try:
        assert unavailable_reasons([gguf], 1) == {"gguf": "*.gguf is made where gguf can be run"}
        assert "disk_bytes" not in unmeasured_row(gguf, "why").measures
    finally:
        (tmp_path / "model.gguf").rename(gguf.path / "model.gguf")


@pytest.mark.slow
def test_a_worker_tells_what_is_missing(variant):
    import onnxruntime

    if CUDA_PROVIDER in onnxruntime.get_available_providers():
        pytest.skip("this machine has a GPU")
    _, cuda = variant.exported(TargetSet.parse(SET))
    assert unavailable_reasons([cuda], 1) == {
        "ort-cuda": "onnxruntime has no CUDA provider here: pip install 'compress-models[gpu]'"
    }
