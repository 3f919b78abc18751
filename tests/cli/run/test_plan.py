"""A request is checked as far as that goes without a model: what can't work is refused, ablations are added."""

from dataclasses import replace
from pathlib import Path

import pytest

from compress.checkpoint.writing.writer import SHARD_BYTES
from compress.cli.run.plan import RunRequest, check
from compress.cli.shared.measuring import SpeedOptions
from compress.errors import UsageError

USUAL_SPEED = SpeedOptions()


@pytest.fixture
def request_of(tmp_path, llama):
    plain = RunRequest(
        source=str(llama), pipelines=("int8,fuse",), out=tmp_path / "out", profile="cpu", target=None, calibration=None,
        samples=None, length=None, ablate=False, no_score=False, evaluation=None, labels=None, task_names=(),
        speed=USUAL_SPEED, require=(), strict=False, checkpoint_format=None, shard_bytes=None, merge=False, seed=0,
        overwrite=False, threads=None, trust_remote_code=False, dequantize=False, allow_overlap=False,
        eval_windows=None,
        quick=False, every_figure=False, context=None,
    )  # fmt: skip
    return lambda **changes: replace(plain, **changes)


def test_a_plan_has_what_the_request_leaves_open(request_of):
    plan = check(request_of(pipelines=(), require=("kl<=1, bytes<=0.5x",)))
    assert plan.targets.name == plan.profile.target == "ort-cpu"
    assert [str(p) for p in plan.requested] == list(plan.profile.pipelines)
    assert plan.pipelines == plan.requested
    assert [requirement.text for requirement in plan.requirements] == ["kl<=1", "bytes<=0.5x"]
    assert (plan.write_options.format.name, plan.write_options.shard_bytes) == ("compressed-tensors", SHARD_BYTES)
    plan = check(request_of(target="hf", checkpoint_format="gptq", shard_bytes=1000, merge=True, pipelines=("int4",)))
    assert (plan.targets.name, plan.write_options.format.name, plan.write_options.shard_bytes) == ("hf", "gptq", 1000)
    assert plan.write_options.merge


def test_ablations_come_after_what_was_requested_each_once(request_of):
    plan = check(request_of(pipelines=("fp16,int8,fuse", "int8,fuse"), ablate=True))
    assert [p.slug for p in plan.requested] == ["fp16-int8-fuse", "int8-fuse"]
    assert [p.slug for p in plan.pipelines] == [
        "fp16-int8-fuse", "int8-fuse", "fp16-fuse", "fp16-int8", "fuse", "int8",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pipelines": ("int8", "int8")}, "pipeline int8 is given twice"),
        ({"no_score": True, "require": ("kl<=1",)}, "--require needs a score; remove --no-score"),
        ({"no_score": True, "task_names": ("a",)}, "--tasks is for scoring; remove --no-score"),
        ({"no_score": True, "labels": Path("l")}, "--labels is for scoring; remove --no-score"),
        ({"no_score": True, "speed": replace(USUAL_SPEED, beams=2)}, "--sample are for scoring; remove --no-score"),
        ({"no_score": True, "eval_windows": 9}, "--eval-windows is for scoring; remove --no-score"),
        ({"no_score": True, "quick": True}, "--quick is for scoring; remove --no-score"),
        ({"no_score": True, "allow_overlap": True}, "--allow-overlap is for scoring; remove --no-score"),
        ({"target": "ort-cpuu"}, "unknown target 'ort-cpuu'; did you mean 'ort-cpu'?"),
        ({"checkpoint_format": "gptq"}, "--format is for --target hf; ort-cpu has one of its own"),
    ],
)
def test_what_cannot_work_whatever_the_model_is_refused(request_of, changes, message):
    with pytest.raises(UsageError) as caught:
        check(request_of(**changes))
    assert str(caught.value).endswith(message)


def test_outputs_that_exist_are_refused_now(request_of, tmp_path):
    out = tmp_path / "out"
    out.write_text("")
    with pytest.raises(UsageError, match="is a file; choose another output directory with -o"):
        check(request_of())
    out.unlink()
    out.mkdir()
    (out / "report.md").write_text("")
    with pytest.raises(UsageError, match="report.md exists; choose another output directory with -o, or pass --over"):
        check(request_of())
    assert check(request_of(no_score=True)).pipelines
    assert check(request_of(overwrite=True)).pipelines
    (out / "report.json").write_text('{"lighthouseVersion": "12"}')
    with pytest.raises(UsageError, match="report.json is not compress's, and a report would replace it; choose"):
        check(request_of(overwrite=True))
    (out / "int8-fuse").mkdir()
    (out / "int8-fuse" / "compress.json").write_text("{}")
    with pytest.raises(UsageError, match="int8-fuse"):
        check(request_of(no_score=True))
