"""The pass contract: names, options, schemes, and what a pass does unless it says otherwise."""

from typing import ClassVar, Literal

import pytest
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from compress.calibration.block import Block
from compress.calibration.layer_inputs import BlockInputs
from compress.calibration.statistics import Statistic
from compress.errors import UsageError
from compress.pipeline import contract
from compress.pipeline.contract import TargetCapability, WeightPass, choices, find, passes
from compress.weights.forms import Dense, Quantized


@pytest.fixture
def halve(monkeypatch):
    """A pass of its own, registered for one test."""
    monkeypatch.setattr(contract, "_registry", dict(contract._registry))

    @dataclass(frozen=True)
    class Halve(WeightPass):
        """Halve every weight."""

        name: ClassVar[str] = "halve"
        produces: ClassVar[tuple[type, ...]] = (Dense,)
        presets: ClassVar[dict[str, str]] = {"Quarter": "times=2"}
        times: int = Field(1, description="how often")
        mode: Literal["all", "some"] = Field("all", description="which")

        def apply(self, name, weight, stats):
            return Dense(weight.tensor / 2**self.times)

    return Halve


def test_a_subclass_with_a_name_is_registered(halve):
    assert passes()["halve"] is halve
    assert list(halve.options()) == ["times", "mode"]
    assert find("HALVE") == (halve, "")
    assert find("quarter") == (halve, "times=2")
    with pytest.raises(UsageError, match="unknown pass 'havle'; did you mean 'halve'?"):
        find("havle")


def test_a_pass_prints_what_differs_from_its_defaults(halve):
    assert [str(halve()), str(halve(times=3)), str(halve(times=3, mode="some"))] == [
        "halve", "halve:times=3", "halve:times=3:mode=some",
    ]  # fmt: skip
    assert choices(halve.options()["mode"]) == ("all", "some")
    assert choices(halve.options()["times"]) == ()


def test_several_targets_hold_what_all_of_them_do():
    wide = TargetCapability("wide", (Dense, Quantized), frozenset({2, 4, 8}), unsupported_reason=lambda config: None)
    narrow = TargetCapability(
        "narrow", (Quantized,), frozenset({4, 8, 3}), graphs=False, any_linear=False, any_inputs=False,
        any_table=False, groups_switching=False, unsupported_reason=lambda config: "what is narrow",
    )  # fmt: skip
    shared = TargetCapability.shared([wide, narrow])
    assert (shared.name, shared.forms, shared.bits) == ("wide,narrow", (Quantized,), {4, 8})
    assert (shared.graphs, shared.any_linear, shared.any_inputs, shared.any_table, shared.groups_switching) == (
        True, False, False, False, False,
    )  # fmt: skip
    assert shared.unsupported_reason(None) == "what is narrow (narrow can't)"
    assert TargetCapability.shared([wide, wide]).unsupported_reason(None) is None
    assert TargetCapability.shared([wide]) is wide


def test_by_default_every_matrix_goes_through_apply_alone(halve):

    block = Block("l", "layer", {"l.a": Dense(torch.ones(2, 2)), "l.b": Dense(torch.full((2, 2), 4.0))}, {})
    halve(times=2).run(block, BlockInputs())
    assert [float(weight.tensor[0, 0]) for weight in block.weights.values()] == [0.25, 1.0]


def test_by_default_a_pass_needs_nothing_and_changes_no_shape(halve):
    plain = halve()
    assert plain.required_statistic() is Statistic.NONE
    assert (plain.uses_gradients(), plain.on_whole_model(), plain.vector_itemsize(4)) == (False, False, 4)
    assert plain.output_forms() == (Dense,)
    assert plain.resolve(None, None) is plain
    assert plain.plan(lambda: pytest.fail("a walk costs what a pass that doesn't ask for it shouldn't pay")) is plain
