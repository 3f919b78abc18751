"""What is scored together comes from one model, which is the one that it was made from."""

import shutil

import pytest

from compress.api.compress_model import compress_model
from compress.api.score_plan import VariantToScore, check_sources, plan_score, unscorable_reasons
from compress.api.target_set import TargetSet
from compress.checkpoint.files.manifest import Manifest
from compress.checkpoint.model import Model
from compress.errors import ModelError, UsageError
from compress.progress import Silent

CPU = TargetSet.parse("ort-cpu")


@pytest.fixture(scope="module")
def variants(untied, llama, tmp_path_factory):
    """Of the untied model fp16 and bf16, of the tied one fp16."""
    out = tmp_path_factory.mktemp("out")
    models = {"half": (untied, "fp16"), "brain": (untied, "bf16"), "other": (llama, "fp16")}
    for name, (path, pipeline) in models.items():
        compress_model(Model.open(path), pipeline, out / name)
    return out


def test_variants_are_read_by_their_directories(variants):
    plan = plan_score([variants / "half", variants / "brain"], CPU, unverified=True)
    assert [(entry.name, str(entry.pipeline)) for entry in plan.variants] == [("half", "fp16"), ("brain", "bf16")]
    with pytest.raises(UsageError, match="no variant among the arguments"):
        plan_score([], CPU)
    with pytest.raises(UsageError, match="the variants come from different models .*; score them separately"):
        plan_score([variants / "half", variants / "other"], CPU)
    with pytest.raises(UsageError, match=rf"\({variants}/half of .*, {variants}/other of .*\)"):
        plan_score([variants / "half", variants / "other"], CPU)


def test_two_rows_of_a_report_have_not_one_name(variants, tmp_path):
    for name in ("half", "onnx float", "torch"):
        copy = shutil.copytree(variants / "half", tmp_path / name)
        with pytest.raises(UsageError, match=f"named {name} as well; rename the directory"):
            plan_score([copy, variants / "half"], CPU)


def test_the_original_is_where_it_was_or_where_the_user_says(variants, untied, tmp_path):
    assert plan_score([variants / "half"], CPU, unverified=True).model.path == untied
    with pytest.raises(ModelError, match="no such directory; give the original's present place with --model"):
        plan_score([variants / "half"], CPU, str(tmp_path / "gone"))


def test_another_model_is_not_the_original(variants, llama):
    for model in (Model.open(llama), str(llama)):
        with pytest.raises(ModelError, match="is not the original of these variants: its weights differ"):
            plan_score([variants / "half"], CPU, model)


def test_sources_are_refused_before_the_work(variants, tmp_path):
    check_sources([variants / "half", tmp_path])
    with pytest.raises(UsageError, match="no variant among the arguments"):
        check_sources([])
    with pytest.raises(UsageError, match="/gone does not exist; give directories that `compress run` wrote"):
        check_sources([variants / "half", tmp_path / "gone"])
    with pytest.raises(ModelError, match=f"^nothing to score: {tmp_path} is not a variant, {variants} is not a"):
        check_sources([tmp_path, variants])
    with pytest.raises(ModelError, match="no such directory; give the original's present place with --model"):
        check_sources([variants / "half"], str(tmp_path / "gone"))


def test_a_variant_that_was_not_exported_has_nothing_to_run(variants):
    with pytest.raises(ModelError, match="onnx is not an artifact"):
        VariantToScore.read(variants / "half").exported(CPU)[0].contender()


def test_a_variant_of_before_hashes_is_told_and_goes_on(variants, tmp_path):
    old, progress = shutil.copytree(variants / "half", tmp_path / "old"), Silent()
    manifest = Manifest.read(old)
    manifest.files = {}
    manifest.save(old)
    plan_score([old], CPU, progress=progress)
    again = f"export it again (compress export {old} --target ort-cpu), or pass --unverified"
    assert progress.notices == [f"{old}: not verified, as no hashes were recorded; to record them, {again}"]


def test_what_there_is_to_score(variants, tmp_path):
    half, hf = variants / "half", "has no artifact for hf (compress export {0} --target hf makes it)"
    assert unscorable_reasons(tmp_path, TargetSet.parse("hf")) == {"hf": "is not a variant"}
    assert unscorable_reasons(half, TargetSet.parse("hf")) == {"hf": hf.format(half)}
    assert unscorable_reasons(half, TargetSet.parse("hf,gguf")) == {
        "hf": hf.format(half), "gguf": hf.format(half).replace("hf", "gguf"),
    }  # fmt: skip
