"""Targets by name, and what they refuse."""

import pytest

from compress.errors import UsageError
from compress.export.targets.base import find_target
from compress.pipeline.contract import WeightPass
from compress.pipeline.parse import Pipeline


def test_a_target_without_a_graph_has_no_source_of_one():
    with pytest.raises(UsageError, match="--graph is for targets that have one, such as ort-cpu; hf has none"):
        find_target("hf").with_graph("traced")


def test_a_form_that_the_target_cannot_hold_is_refused_before_the_work():
    class Sphere:
        """A form that no target knows."""

    class Low(WeightPass):
        produces = (Sphere,)

        def apply(self, name, weight, stats):
            return weight

    Low.name = "low"
    with pytest.raises(UsageError, match=r"ort-cpu can't hold what low produces \(Sphere\); choose another target"):
        find_target("ort-cpu").check([Low()])
    find_target("ort-cpu").check(Pipeline.parse("fp16,int8,fuse").passes)


def test_an_unknown_target_is_named_with_the_nearest():
    with pytest.raises(UsageError, match="unknown target 'ort-cpuu'; did you mean 'ort-cpu'?"):
        find_target("ort-cpuu")
