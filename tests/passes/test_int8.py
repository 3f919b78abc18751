"""Weights in 8 bits, with and without inputs in 8 bits."""

import pytest

from compress.calibration.statistics import Statistic
from compress.calibration.walk import walk_blocks
from compress.checkpoint.model import Model
from compress.export.targets.ort_cpu import OrtCpu
from compress.passes.int8 import HEADROOM_LEVELS, Int8
from compress.progress import Silent
from tests.support.tensors import token_ids

pytestmark = pytest.mark.usefixtures("exact_products")
TOKENS = token_ids(4, 24)


def test_w8a8_rounds_the_inputs_too(untied, run):
    stored = run(untied, "W8A8:fallback=1").weight("model.layers.0.self_attn.q_proj.weight")
    assert (stored.bits, stored.act, stored.per_channel) == (8, "dynamic", True)
    assert int(stored.codes.abs().max()) <= 63


@pytest.mark.parametrize("solver", ["gptq", "learned"])
def test_dynamic_inputs_go_with_other_solvers(untied, run, solver):
    variant = run(untied, f"int8:act=dynamic:fallback=1:solver={solver}:steps=5")
    for name, form in variant.manifest.weights.items():
        if ".layers." in name:
            assert (form.act, form.group) == ("dynamic", -1)
            assert int(variant.weight(name).codes.abs().max()) <= 63


def test_dynamic_codes_leave_headroom_and_bad_layers_fall_back(llama):
    model = Model.open(str(llama))
    for block, inputs in walk_blocks(model, TOKENS, Silent()):
        if block.role == "layer":
            strict = Int8(act="dynamic", fallback=0).resolve(model, OrtCpu.capability)
            loose = Int8(act="dynamic", fallback=1).resolve(model, OrtCpu.capability)
            name = f"{block.name}.mlp.up_proj.weight"
            stats = inputs.statistics(Statistic.AMAX)
            dynamic = loose.apply(name, block.weights[name], stats)
            assert dynamic.act == "dynamic"
            assert dynamic.per_channel
            assert dynamic.codes.abs().max() == HEADROOM_LEVELS
            back = strict.apply(name, block.weights[name], stats)
            assert back.act is None
            assert back.group == 64


def test_a_tied_head_keeps_float_inputs(llama):
    model = Model.open(str(llama))
    pass_ = Int8(act="dynamic").resolve(model, OrtCpu.capability)
    for block, inputs in walk_blocks(model, TOKENS, Silent()):
        if block.role == "tied":
            pass_.run(block, inputs)
            assert [w.act for w in block.weights.values()] == [None]
