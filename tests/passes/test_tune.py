"""Short recovery on tiny layers: every form keeps its form, the output comes closer, or nothing changes."""

import pytest
import torch

from compress.calibration.predictions import _Divergence
from compress.calibration.walk import walk_blocks
from compress.checkpoint.model import Model
from compress.errors import UsageError
from compress.export.targets.base import find_target
from compress.passes.solvers.grid import Grid
from compress.passes.tune import Tune
from compress.pipeline.parse import Pipeline
from compress.progress import Silent
from compress.weights.forms import Dense, Factored, Masked, Quantized
from tests.support.tensors import token_ids
from tests.support.weights import FORMS

pytestmark = pytest.mark.usefixtures("exact_products")
TOKENS = token_ids(16, 32)


def layer(path, damage):
    """The first layer with all of its matrices damaged, and its inputs."""
    for block, inputs in walk_blocks(Model.open(str(path)), TOKENS, Silent(), originals=True):
        if block.role == "layer":
            block.weights |= {name: damage(weight.dequantize()) for name, weight in block.weights.items()}
            return block, inputs
    raise AssertionError


def error(inputs):
    """Relative squared error of the layer's output by token, on the held-out batch."""
    inputs.refresh()
    exact = inputs.target(0)
    with torch.no_grad():
        off = inputs.forward(0, {}) - exact
    return float((off.square().sum(-1) / exact.square().sum(-1)).mean())


@pytest.mark.parametrize("form", ["dense", "factored", "residual"])
def test_products_in_bfloat16_train_as_far_as_exact_ones(llama, form, monkeypatch):
    def trained(native):
        monkeypatch.setattr("compress.calibration.precision.native_bfloat16", lambda: native)
        torch.manual_seed(0)
        block, inputs = layer(llama, FORMS[form])
        Tune(steps=60).run(block, inputs)
        monkeypatch.setattr("compress.calibration.precision.native_bfloat16", lambda: False)
        return error(inputs)

    assert trained(True) < 1.05 * trained(False)


@pytest.mark.parametrize("form", FORMS)
def test_a_damaged_layer_comes_closer_and_keeps_its_forms(llama, form):
    torch.manual_seed(0)
    block, inputs = layer(llama, FORMS[form])
    before, start = error(inputs), dict(block.weights)
    Tune(steps=60).run(block, inputs)
    assert error(inputs) < 0.985 * before
    for name, weight in block.weights.items():
        old = start[name]
        assert (type(weight), weight.shape, weight.nbytes()) == (type(old), old.shape, old.nbytes())
        if isinstance(weight, Dense):
            assert weight.tensor.dtype == old.tensor.dtype
        if isinstance(weight, Masked):
            assert not weight.tensor[~weight.mask].any()
        if isinstance(weight, Quantized):
            limits = Grid(weight.bits, weight.group, weight.zero_point is None)
            assert limits.qmin <= weight.codes.min() <= weight.codes.max() <= limits.qmax
            assert (weight.codes - old.codes).abs().max() <= 1
            assert weight.zero_point is None or torch.equal(weight.zero_point, old.zero_point)
        if isinstance(weight, Factored):
            assert weight.left.shape == old.left.shape
        assert block.reports[name].solver.startswith("tune (layer's error ")


@pytest.mark.parametrize("form", ["symmetric", "asymmetric", "quantized factors", "residual"])
def test_scales_alone_bring_a_damaged_layer_closer(llama, form):
    torch.manual_seed(0)
    block, inputs = layer(llama, FORMS[form])
    before, start = error(inputs), dict(block.weights)
    Tune(steps=60, train="scales").run(block, inputs)
    assert error(inputs) < 0.99 * before
    for name, weight in block.weights.items():
        old = start[name]
        if isinstance(weight, Quantized):
            assert torch.equal(weight.codes, old.codes)
            assert weight.scale.dtype == old.scale.dtype
            assert not torch.equal(weight.scale, old.scale)
        assert block.reports[name].solver.startswith("tune (layer's error ")


def test_float_matrices_stay_where_scales_are_trained(llama):
    block, inputs = layer(llama, FORMS["dense"])
    weights, vectors = dict(block.weights), dict(block.vectors)
    Tune(steps=20, train="scales").run(block, inputs)
    assert all(block.weights[name] is weight for name, weight in weights.items())
    assert not block.reports
    assert any(not torch.equal(block.vectors[name], vector) for name, vector in vectors.items())


def test_what_did_not_help_is_left_as_it_was(llama, monkeypatch):
    monkeypatch.setattr("compress.passes.tune._FLOATS_RATE", {"layer": 10.0})
    block, inputs = layer(llama, FORMS["dense"])
    weights, vectors = dict(block.weights), {name: v.clone() for name, v in block.vectors.items()}
    Tune(steps=3).run(block, inputs)
    assert all(block.weights[name] is weight for name, weight in weights.items())
    assert all(torch.equal(block.vectors[name], vector) for name, vector in vectors.items())
    assert {report.solver for report in block.reports.values()} == {"tune (kept nothing)"}
    assert {report.weight_error for report in block.reports.values()} == {0.0}


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["prune:ratio=0.5", "prune:what=heads:ratio=0.5", "prune:what=blocks:layers=1"])
def test_recovery_after_damage(tiny, run, damage):
    path = tiny("LlamaForCausalLM", num_hidden_layers=3)
    text = token_ids(128, 32)
    variants = [run(path, pipeline, tokens=text) for pipeline in (damage, f"{damage},tune")]
    with torch.no_grad():
        exact = Model.open(str(path)).torch_module()(TOKENS).logits
        off = [float((variant.torch_module()(TOKENS).logits - exact).norm() / exact.norm()) for variant in variants]
    assert off[1] < 0.98 * off[0]


def test_the_report_says_what_was_done_before(llama, run):
    reports = run(llama, "prune,tune:steps=20", tokens=TOKENS).manifest.layers["model.layers.0"].weights
    solvers = {name.split(".")[4]: report.solver for name, report in reports.items()}
    assert solvers["down_proj"].startswith("nystrom, then tune (")
    assert solvers["q_proj"].startswith("tune (")


def test_forms_before_it_are_the_forms_after_it():
    assert str(Pipeline.parse("prune,tune,int4,tune,fuse")) == "prune,tune,int4,tune,fuse"
    with pytest.raises(Exception, match="prune works on Dense weights, but int4 may leave .*; this order works"):
        Pipeline.parse("int4,tune,prune")


MANY = token_ids(66, 32)
"""Two windows are held out, the others trained on; a random model has nothing that fewer would tell of."""


def divergence(source, variant, tokens):
    """The KL divergence of a variant's predictions from the model's, in nats a token."""
    with torch.no_grad():
        exact, off = (
            loaded.torch_module()(tokens).logits.log_softmax(-1) for loaded in (Model.open(str(source)), variant)
        )
    return float((exact.exp() * (exact - off)).sum(-1).mean())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "damage", "gain"),
    [
        ("LlamaForCausalLM", "prune:ratio=0.5:compensate=off", 0.9),
        ("LlamaForCausalLM", "prune:what=blocks:ratio=0.5", 0.9),
        ("LlamaForCausalLM", "prune:ratio=0.5:compensate=off,tune", 0.95),
        ("LlamaForCausalLM", "sparse24:solver=magnitude,int4:rtn", 0.96),
        ("LlamaForCausalLM", "lowrank:rank=0.25,int4:rtn", 0.96),
        ("GPT2LMHeadModel", "prune:ratio=0.5:compensate=off", 0.9),
    ],
)
def test_as_a_whole_the_predictions_come_closer_to_the_originals(tiny, run, name, damage, gain):
    source = tiny(name)
    damaged = run(source, damage, tokens=MANY)
    tuned = run(source, f"{damage},tune:scope=model:steps=128", tokens=MANY)
    assert divergence(source, tuned, MANY[:2]) < gain * divergence(source, damaged, MANY[:2])  # held out
    assert tuned.names == damaged.names
    for matrix in damaged.manifest.weights:
        old, new = damaged.weight(matrix), tuned.weight(matrix)
        assert (type(new), new.shape, new.nbytes()) == (type(old), old.shape, old.nbytes())
        if isinstance(old, Quantized):
            assert (new.codes - old.codes).abs().max() <= 1
            assert not new.codes[old.codes == 0].any() or not damage.startswith("sparse24")
        reports = [report for layer in tuned.manifest.layers.values() for report in layer.weights.values()]
        assert all("tune (loss " in report.solver for report in reports)


@pytest.mark.slow
@pytest.mark.parametrize(("damage", "steps"), [("int2:rtn", 64), ("int3:rtn:symmetry=asym", 128)])
def test_scales_of_the_whole_model_bring_its_predictions_closer(llama, run, damage, steps):
    rounded = run(llama, damage, tokens=MANY)
    tuned = run(llama, f"{damage},tune:scope=model:train=scales:steps={steps}", tokens=MANY)
    assert divergence(llama, tuned, MANY[:2]) < 0.9 * divergence(llama, rounded, MANY[:2])  # held out
    for matrix in rounded.manifest.weights:
        old, new = rounded.weight(matrix), tuned.weight(matrix)
        assert torch.equal(new.codes, old.codes)
        assert new.zero_point is None or torch.equal(new.zero_point, old.zero_point)
        assert (new.scale.dtype, new.nbytes()) == (old.scale.dtype, old.nbytes())


@pytest.mark.slow
def test_an_encoder_as_a_whole_comes_closer_to_the_originals_hidden_states(bert, run):
    exact = Model.open(str(bert)).torch_module()(MANY[:2]).last_hidden_state.detach()

    def off(pipeline):
        actual = run(bert, pipeline, tokens=MANY).torch_module()(MANY[:2]).last_hidden_state.detach()
        return float((actual - exact).norm() / exact.norm())

    damage = "prune:ratio=0.5:compensate=off"
    assert off(f"{damage},tune:scope=model:steps=128") < 0.9 * off(damage)


def test_steps_left_open_are_decided_by_the_scope(llama):
    model, target = Model.open(str(llama)), find_target("hf").capability
    scopes = ("layer", "model")
    assert [str(Tune(scope=scope).resolve(model, target)) for scope in scopes] == [
        "tune:steps=100",
        "tune:steps=450:scope=model",
    ]
    scales = Tune(scope="model", train="scales").resolve(model, target)
    assert str(scales) == "tune:steps=64:scope=model:train=scales"
    assert Tune(steps=7, scope="model").resolve(model, target).steps == 7
    with pytest.raises(UsageError, match="steps"):
        Pipeline.parse("tune:steps=0")


@pytest.mark.parametrize("shape", [(2, 3, 7), (4, 7)])
def test_divergence_is_that_of_all_tokens_at_once(shape, monkeypatch):
    monkeypatch.setattr("compress.calibration.predictions._TOKENS", 4)
    generator = torch.Generator().manual_seed(0)
    exact, start = (torch.randn(shape, generator=generator) for _ in range(2))
    losses, slopes = [], []
    for divergence in (_Divergence.apply, naive_divergence):
        output = start.clone().requires_grad_()
        losses.append(loss := divergence(output, exact))
        slopes.append(torch.autograd.grad(3 * loss, output)[0])
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*slopes)


def naive_divergence(output, exact):
    return torch.nn.functional.kl_div(
        output.log_softmax(-1).flatten(0, -2), exact.log_softmax(-1).flatten(0, -2), log_target=True,
        reduction="batchmean",
    )  # fmt: skip


def test_what_does_not_help_the_whole_model_changes_nothing(llama, run):
    first, second = run(llama, "fp16", tokens=MANY), run(llama, "fp16,tune:scope=model:steps=1", tokens=MANY)
    reports = [
        report.solver.removeprefix("fp16, then ")
        for layer in second.manifest.layers.values()
        for report in layer.weights.values()
    ]
    assert set(reports) == {"tune (kept nothing)"}
    assert all(torch.equal(first.weight(n).tensor, second.weight(n).tensor) for n in first.manifest.weights)


def test_nothing_comes_after_a_pass_on_the_whole_model():
    with pytest.raises(UsageError, match="as a whole, so nothing can come after it; this order works: int4,tune:scope"):
        Pipeline.parse("tune:scope=model,int4")


def test_a_model_that_is_too_large_to_be_trained_as_a_whole_is_refused(llama, run, monkeypatch):
    monkeypatch.setattr("compress.passes.tune.free_memory", lambda: 1_000_000)
    with pytest.raises(UsageError, match=r"takes some 0\.\d+ GB of memory, and 0.001 are free; use scope=layer"):
        run(llama, "tune:scope=model")
