"""What is scored together comes from one model, which is the one that it was made from."""

import pytest

from compress.api.compress_model import compress_model
from compress.api.score import (
    VariantToScore,
    check_artifacts,
    check_original,
    open_original,
    read_variants,
    unscorable_reason,
)
from compress.checkpoint.model import Model
from compress.errors import ModelError, UsageError
from compress.export.targets.base import find_target
from compress.progress import Silent


@pytest.fixture(scope="module")
def variants(untied, llama, tmp_path_factory):
    """Of the untied model fp16 and bf16, of the tied one fp16."""
    out = tmp_path_factory.mktemp("out")
    models = {"half": (untied, "fp16"), "brain": (untied, "bf16"), "other": (llama, "fp16")}
    for name, (path, pipeline) in models.items():
        compress_model(Model.open(path), pipeline, out / name)
    return out


def test_variants_are_read_by_their_directories(variants):
    entries = read_variants([variants / "half", variants / "brain"])
    assert [(entry.name, str(entry.pipeline)) for entry in entries] == [("half", "fp16"), ("brain", "bf16")]
    with pytest.raises(UsageError, match="no variant among the arguments"):
        read_variants([])
    with pytest.raises(UsageError, match="the variants come from different models .*; score them separately"):
        read_variants([variants / "half", variants / "other"])


def test_the_original_is_where_it_was_or_where_the_user_says(variants, untied, tmp_path):
    entries = read_variants([variants / "half"])
    original = open_original(entries)
    assert original.path == untied
    check_original(entries, original)
    with pytest.raises(ModelError, match="no such directory; give the original's present place with --model"):
        open_original(entries, str(tmp_path / "gone"))


def test_another_model_is_not_the_original(variants, llama):
    with pytest.raises(ModelError, match="is not the original of these variants: its weights differ"):
        check_original(read_variants([variants / "half"]), Model.open(llama))


def test_a_variant_that_was_not_exported_has_nothing_to_run(variants):
    with pytest.raises(ModelError, match="onnx is not an artifact"):
        VariantToScore.read(variants / "half").contender(find_target("ort-cpu"))


def test_a_variant_of_before_hashes_is_told_and_goes_on(variants):
    entry, progress = VariantToScore.read(variants / "half"), Silent()
    entry.manifest.files = {}
    check_artifacts([entry], find_target("ort-cpu"), progress)
    again = f"export it again (compress export {variants / 'half'} --target ort-cpu), or pass --unverified"
    assert progress.notices == [
        f"{variants / 'half'}: not verified, as no hashes were recorded; to record them, {again}"
    ]


def test_what_there_is_to_score(variants, tmp_path):
    assert unscorable_reason(tmp_path, find_target("hf")) == "is not a variant"
    assert unscorable_reason(variants / "half", find_target("hf")) == (
        f"has no artifact for hf (compress export {variants / 'half'} --target hf makes it)"
    )
