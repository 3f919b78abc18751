"""Sets of targets: what all of them hold, what one of them can't hold, and how their artifacts are named."""

import pytest

from compress.api.target_set import TargetSet, graph_passes
from compress.errors import UsageError
from compress.pipeline.parse import Pipeline
from compress.weights.forms import Dense, Masked, Quantized


def test_one_target_is_itself():
    (cpu,) = targets = TargetSet.parse("ort-cpu")
    assert targets.capability is cpu.capability
    assert (targets.name, targets.float_target, targets.contender_name("int8", cpu)) == ("ort-cpu", cpu, "int8")


def test_several_hold_what_all_of_them_hold():
    targets = TargetSet.parse("gguf,ort-cpu")
    gguf, cpu = targets
    assert (targets.name, len(targets), targets.float_target) == ("gguf,ort-cpu", 2, cpu)
    assert targets.capability.forms == (Dense, Masked, Quantized)
    assert targets.capability.bits == {4, 8}
    assert (targets.capability.graphs, targets.restricted) == (True, True)
    assert targets.contender_name("int8", gguf) == "int8/gguf"
    assert TargetSet.parse("hf,gguf").float_target is None


def test_graph_passes_are_for_those_with_a_graph():
    targets, pipeline = TargetSet.parse("ort-cpu,gguf"), Pipeline.parse("int4,fuse")
    targets.check(pipeline.passes)
    assert [len(graph_passes(pipeline, target)) for target in targets] == [1, 0]
    with pytest.raises(UsageError, match="graph pass fuse does not apply to target hf; remove it"):
        TargetSet.parse("hf,gguf").check(pipeline.passes)
    with pytest.raises(UsageError, match="gguf can't hold what lowrank produces"):
        targets.check(Pipeline.parse("lowrank:rank=0.5,fuse").passes)
    targets.check(Pipeline.parse("lowrank:rank=0.5,fuse").passes, merge=True)


def test_a_format_is_that_of_the_checkpoint():
    targets = TargetSet.parse("ort-cpu,hf", "gptq")
    assert (targets.format.name, [target.format.name for target in targets]) == (
        "gptq", ["compressed-tensors", "gptq"],
    )  # fmt: skip
    with pytest.raises(UsageError, match="--format is for --target hf; ort-cpu has one of its own"):
        TargetSet.parse("ort-cpu,gguf", "gptq")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ort-cpu,ggfu", "unknown target 'ggfu'; did you mean 'gguf'?"),
        ("gguf,ort-cpu,gguf", "target gguf is given twice"),
        ("ort-cpu,", "unknown target ''; known: gguf, hf, ort-cpu, ort-cuda, tensorrt"),
    ],
)
def test_mistakes_in_a_list(text, message):
    with pytest.raises(UsageError) as caught:
        TargetSet.parse(text)
    assert str(caught.value) == message
