"""Difficulty of passes."""

from compress.benchmarks.results.difficulty import applied
from compress.pipeline.parse import Pipeline


def test_difficulty_follows_from_what_a_pass_needs():
    pipeline = Pipeline.parse("prune:what=blocks,lowrank:rank=0.5:mismatch=off,int4,tune,fuse")
    assert [step.difficulty for step in applied(pipeline)] == [2, 3, 4, 5, 1]
    assert [step.difficulty for step in applied(Pipeline.parse("fp16"))] == [1]
    assert [step.difficulty for step in applied(Pipeline.parse("int4:solver=learned"))] == [5]
