"""Where an export goes and what it writes, decided before anything is written."""

import shutil

import pytest

from compress.api.compress_model import compress_model
from compress.api.export import export, plan_export
from compress.api.verify import verify
from compress.checkpoint.files.manifest import Manifest
from compress.checkpoint.model import Model
from compress.checkpoint.variant import Variant
from compress.errors import UsageError
from compress.export.targets.base import find_target

INT4 = "int4:solver=rtn:head=float:embed=float"


@pytest.fixture(scope="module")
def variant(untied, tmp_path_factory):
    return compress_model(Model.open(untied), f"{INT4},fuse", tmp_path_factory.mktemp("out") / "v")


@pytest.fixture(scope="module")
def product(untied, tmp_path_factory):
    return compress_model(Model.open(untied), "lowrank:rank=0.4:whiten=off", tmp_path_factory.mktemp("out") / "p")


def test_an_artifact_goes_into_the_variant_and_replaces_what_is_there(variant, tmp_path):
    plan = plan_export(variant, find_target("ort-cpu"))
    assert (plan.path, plan.rewrites, plan.overwrite) == (variant.path / "onnx", False, True)
    assert [str(pass_) for pass_ in plan.graph_passes] == ["fuse"]
    elsewhere = plan_export(variant, find_target("ort-cpu"), tmp_path / "o")
    assert (elsewhere.path, elsewhere.overwrite) == (tmp_path / "o", False)


def test_another_checkpoint_goes_next_to_the_variant(variant, product, tmp_path):
    hf = find_target("hf")
    same = plan_export(variant, hf)
    assert (same.path, same.rewrites, same.graph_passes) == (variant.path, False, ())
    for plan, path in (
        (plan_export(variant, hf, checkpoint_format="awq"), variant.path.parent / "v-awq"),
        (plan_export(product, hf, merge=True), product.path.parent / "p-merged"),
        (plan_export(variant, hf, tmp_path / "o", max_shard_bytes=1000), tmp_path / "o"),
    ):
        assert (plan.path, plan.rewrites) == (path, True)
    assert plan_export(variant, hf, tmp_path / "o", max_shard_bytes=1000).options.shard_bytes == 1000


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("ort-cpu", {"max_shard_bytes": 1000}, "--max-shard-size is for checkpoints; give it with --target hf"),
        ("hf", {"max_shard_bytes": 1000}, "only cuts the same checkpoint anew; choose a directory with -o"),
        ("hf", {"graph": "traced"}, "--graph is for targets that have one, such as ort-cpu; hf has none"),
        ("ort-cpu", {"checkpoint_format": "gptq"}, "--format is for --target hf"),
    ],
)
def test_options_that_do_not_go_together_are_refused(variant, target, options, message):
    with pytest.raises(UsageError, match=message):
        plan_export(variant, find_target(target), **options)


def test_a_product_that_a_target_cannot_hold_is_refused_unless_merged(product):
    with pytest.raises(UsageError, match="hf can't hold a product"):
        plan_export(product, find_target("hf"))


def test_an_export_writes_what_was_planned(variant, tmp_path):
    artifact = export(variant.path, "hf", tmp_path / "gptq", checkpoint_format="gptq")
    assert artifact.path == tmp_path / "gptq"
    again = Variant.open(tmp_path / "gptq")
    assert (again.manifest.format, list(again.recipe)) == ("gptq", list(variant.recipe))
    assert {"artifact.json", "model.safetensors", "config.json"} <= again.manifest.files.keys()
    assert verify(tmp_path / "gptq").problems == ()


@pytest.mark.slow
def test_an_artifact_inside_a_variant_is_recorded_there_and_one_elsewhere_is_not(variant, tmp_path):
    copy = shutil.copytree(variant.path, tmp_path / "copy")
    export(copy, "ort-cpu", tmp_path / "elsewhere")
    assert verify(copy).problems == ()
    export(copy, "ort-cpu")
    assert "onnx/model.onnx" in Manifest.read(copy).files
    assert verify(copy).problems == ()
