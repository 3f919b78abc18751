"""The integer passes from the pipeline's text to the manifest, and what they refuse before any weight is read."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from compress.calibration.data import Calibration
from compress.checkpoint.model import Model
from compress.errors import PassError, UsageError
from compress.pipeline.contract import TargetCapability, WeightPass
from compress.pipeline.parse import Pipeline, parse_pass
from compress.pipeline.run import run_pipeline
from compress.progress import Silent
from compress.weights.forms import Dense, Masked, Quantized

ANY = TargetCapability("test", (Dense, Quantized), bits=frozenset(range(2, 9)))
SYMMETRIC = "int8: act=dynamic needs symmetric 8-bit codes"
ERRORS = {2: 0.4, 3: 0.08, 4: 0.02, 8: 2e-4}
"""At most so much of a Gaussian matrix is lost, ‖W − Ŵ‖² / ‖W‖², rounded in groups of 32. GPTQ gives up up to five
times as much, in directions that the inputs hardly have."""


def reports(variant):
    return {name: r for layer in variant.manifest.layers.values() for name, r in layer.weights.items()}


@pytest.mark.parametrize("solver", ["rtn", "gptq"])
@pytest.mark.parametrize("symmetry", ["sym", "asym"])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("family", ["llama", "untied", "bert"])
def test_every_matrix_is_stored_as_asked_and_reported(request, run, family, bits, symmetry, solver):
    source = request.getfixturevalue(family)
    act = ":act=none" if bits == 8 else ""
    variant = run(source, f"int{bits}:group=32:symmetry={symmetry}:solver={solver}{act}")
    model, by_name = Model.open(str(source)), reports(variant)
    matrices = [name for name, form in variant.manifest.weights.items() if form.form == "quantized"]
    assert set(by_name) == set(matrices)
    assert len(matrices) == {"llama": 15, "untied": 16, "bert": 13}[family]
    for name in matrices:
        stored, exact, layer = variant.weight(name), model.tensor(name), ".layer" in name
        assert stored.bits == (bits if layer else 8)
        assert stored.group == 32
        assert (stored.zero_point is None) == (symmetry == "sym" or (not layer and bits != 8))
        lost = float((stored.dequantize() - exact).square().sum() / exact.square().sum())
        assert by_name[name].weight_error == pytest.approx(lost, rel=1e-3)
        assert 0 < lost < ERRORS[stored.bits] * (5 if layer and solver == "gptq" else 1)
        assert by_name[name].solver.startswith(solver if layer else "rtn")
        assert not by_name[name].fell_back
        assert (by_name[name].error is not None) == (layer and solver == "gptq")
        if by_name[name].error is not None:
            assert by_name[name].error < lost  # that is what it solves for
    assert variant.manifest.calibration == ("none" if solver == "rtn" else "test, 10 windows of 32 tokens")


def test_gptq_brings_the_model_nearer_to_the_original_than_rounding(untied, run):
    generator = torch.Generator().manual_seed(5)
    tokens = torch.randint(3, 300, (96, 32), generator=generator)
    unseen = torch.randint(3, 300, (8, 32), generator=generator)
    with torch.no_grad():
        exact = Model.open(str(untied)).torch_module()(unseen).logits

        def error(solver):
            module = run(untied, f"int3:solver={solver}", tokens=tokens).torch_module()
            return float((module(unseen).logits - exact).norm())

        assert error("gptq") < 0.95 * error("rtn")  # random inputs are hardly correlated


@pytest.mark.parametrize(
    ("text", "bits", "group", "symmetric"),
    [
        ("W4A16", 4, 128, True),
        ("W4A16:group=32", 4, 32, True),
        ("W4A16_ASYM:64", 4, 64, False),
        ("W8A16:group=64", 8, 64, True),
        ("int4:channel", 4, 64, True),
        ("int3:asym:64", 3, 64, False),
    ],
)
def test_schemes_and_words(tiny, run, text, bits, group, symmetric):
    source = tiny("LlamaForCausalLM", hidden_size=128 if group == 128 else 64, num_hidden_layers=1)
    stored = run(source, f"{text}:solver=rtn").weight("model.layers.0.self_attn.q_proj.weight")
    assert (stored.bits, stored.group, stored.act) == (bits, group, None)
    assert (stored.zero_point is None) == symmetric


@pytest.mark.parametrize("head", ["float", "int8", "int4"])
@pytest.mark.parametrize("embed", ["float", "int8", "int4"])
def test_head_and_embedding_are_stored_as_asked(untied, run, head, embed):
    variant = run(untied, f"int3:solver=rtn:asym:head={head}:embed={embed}")
    for name, stored_as in (("lm_head.weight", head), ("model.embed_tokens.weight", embed)):
        form = variant.manifest.weights[name]
        assert (form.form, form.bits, form.group, form.symmetric) == {
            "float": ("dense", None, None, True),
            "int8": ("quantized", 8, 32, True),
            "int4": ("quantized", 4, 32, False),
        }[stored_as]


@pytest.mark.parametrize("options", ["head={0}:embed={0}", "head={0}", "embed={0}"])
@pytest.mark.parametrize("stored_as", ["float", "int8", "int4"])
def test_a_tied_head_is_stored_once_as_either_option_says(llama, run, stored_as, options):
    variant = run(llama, f"int4:solver=rtn:{options.format(stored_as)}")
    form = variant.manifest.weights["model.embed_tokens.weight"]
    assert form.bits == {"float": None, "int8": 8, "int4": 4}[stored_as]
    assert "lm_head.weight" not in variant.manifest.weights


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_a_head_of_few_bits_is_solved(untied, run, bits):
    variant = run(untied, f"int{bits}:head=int4:embed=int4")
    by_name = reports(variant)
    head, embedding = by_name["lm_head.weight"], by_name["model.embed_tokens.weight"]
    assert (head.solver, head.fell_back) == ("gptq (320 calibration tokens, 1024 advised)", False)
    assert head.error < head.weight_error
    assert (embedding.solver, embedding.error) == ("rtn", None)


@pytest.mark.parametrize("solver", ["gptq", "learned:steps=2"])
def test_a_tied_table_of_few_bits_is_solved_once_the_layers_are(llama, run, solver):
    variant = run(llama, f"int4:solver={solver}:head=int4:embed=int4")
    assert list(variant.manifest.layers) == ["model.layers.0", "model.layers.1", "tied"]
    report = reports(variant)["model.embed_tokens.weight"]
    assert report.solver == "gptq (320 calibration tokens, 1024 advised)"
    assert report.error < report.weight_error
    skipped = run(llama, "int4:skip=*embed*:head=int4:embed=int4").weight("model.embed_tokens.weight")
    assert torch.equal(skipped.dequantize(), Model.open(str(llama)).tensor("model.embed_tokens.weight"))


def test_large_embeddings_and_heads_are_rounded_in_parts(untied, run, monkeypatch):
    stored = run(untied, "int4:solver=rtn:embed=int4:head=int4:asym")
    monkeypatch.setattr("compress.passes.solvers.tables._ROWS", 100)
    in_parts = run(untied, "int4:solver=rtn:embed=int4:head=int4:asym")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        for part in ("codes", "scale", "zero_point"):
            assert torch.equal(getattr(stored.weight(name), part), getattr(in_parts.weight(name), part))


@pytest.mark.parametrize(
    ("family", "pipeline", "message"),
    [
        ("llama", "int4:group=128", "int4: group=128 doesn't divide the 64 inputs of model.embed_tokens.weight; use "
         "group=64"),
        ("llama", "W4A16", "int4: group=128 doesn't divide the 64 inputs of model.embed_tokens.weight; use group=64"),
        ("llama", "int4:mixed=8:head=int4", "int4: mixed=8 is out of reach of 2 and 4 bits"),
        ("llama", "int4:skip=lm_heat", "int4: skip=lm_heat matches no matrix; their names are like "
         "model.embed_tokens.weight"),
        ("llama", "int4:skip=*.down_proj.weight+x", "int4: skip=x matches no matrix; their names are like "
         "model.embed_tokens.weight"),
        ("llama", "int4:head=float:embed=int4", "int4: head and embedding are tied, so set both alike: head=float:"
         "embed=float"),
        ("untied", "int3:head=float:embed=float", "int3: narrow holds integers of 2 and 4 bits, not 3; use int4, or "
         "--target hf"),
        ("untied", "int8:head=float:embed=float", "int8: narrow holds integers of 2 and 4 bits, not 8; use int4, or "
         "--target hf"),
        ("llama", "int8:act=dynamic:asym", f"{SYMMETRIC}; leave out symmetry=asym, or give act=none"),
        ("llama", "int8:act=dynamic:mixed=4", f"{SYMMETRIC}; leave out mixed=4.0, or give act=none"),
        ("llama", "int8:act=dynamic:group=32", "int8: act=dynamic needs one scale a channel; leave out group=32"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_before_any_weight_is_read(
    request, family, pipeline, message, tmp_path, monkeypatch
):
    model = Model.open(str(request.getfixturevalue(family)))
    monkeypatch.setattr(Model, "tensor", lambda self, name: pytest.fail(f"{name} was read"))
    target = TargetCapability("narrow", (Dense, Quantized), bits=frozenset({2, 4})) if "of 2 and 4" in message else ANY
    with pytest.raises(UsageError) as error:
        run_pipeline(model, Pipeline.parse(pipeline), target, tmp_path, lambda: pytest.fail("calibrated"), 0, Silent())
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("int4:mixed=1.5", "mixed=1.5: it should be greater than or equal to 2"),
        ("int4:mixed=9", "mixed=9: it should be less than or equal to 8"),
        ("int4:group=48", "group=48: it should be '32', '64', '128' or 'channel'"),
        ("int4:solver=gptp", "solver=gptp: it should be 'rtn', 'gptq' or 'learned'"),
        ("int4:steps=0", "steps=0: it should be greater than or equal to 1"),
        ("int4:widths=4", "unknown option of 'int4' 'widths'"),
    ],
)
def test_options_out_of_range_are_refused(text, message):
    with pytest.raises(UsageError) as error:
        Pipeline.parse(text)
    assert message in str(error.value)


@pytest.mark.parametrize("pipeline", ["int4", "int4:mismatch=off", "int8:gptq"])
def test_infinite_activations_are_refused(untied, run, tmp_path, pipeline):
    module = Model.open(str(untied)).torch_module()
    for linear in (module.model.layers[0].mlp.gate_proj, module.model.layers[0].mlp.up_proj):
        linear.weight.data *= 1e12  # so that down_proj's inputs are finite, but their squares are not
    module.save_pretrained(tmp_path)
    with pytest.raises(PassError, match="NaN or infinite activations"):
        run(tmp_path, pipeline)


def test_a_layer_of_zeros_stays_one_and_is_reported_as_exact(untied, run, tmp_path):
    """And what reads nothing but zeros falls back to rounding, and says so."""
    module = Model.open(str(untied)).torch_module()
    module.model.layers[0].self_attn.v_proj.weight.data.zero_()
    module.save_pretrained(tmp_path)
    variant = run(tmp_path, "int4")
    by_name = reports(variant)
    v, o = (f"model.layers.0.self_attn.{part}.weight" for part in ("v_proj", "o_proj"))
    assert not variant.weight(v).dequantize().any()
    assert (by_name[v].solver, by_name[v].error, by_name[v].weight_error) == ("exact (all zeros)", 0, 0)
    assert by_name[o].solver == "rtn (fallback: its inputs are zero on all of the calibration text)"
    assert by_name[o].fell_back
    assert by_name[o].weight_error < 0.02
    assert sum(report.fell_back for report in by_name.values()) == 1


class Prune(WeightPass):
    """Every other weight of a layer is zero, and has to stay so."""

    produces = (Masked,)

    def __str__(self):
        return "prune"

    def apply(self, name, weight, stats):
        mask = torch.rand(weight.shape, generator=torch.Generator().manual_seed(0)) > 0.5
        return Masked(weight.tensor * mask, mask)


Prune.name = "prune"


@pytest.mark.parametrize("pipeline", ["int4:asym", "int4", "int2:asym", "int4:smooth=awq:asym", "int4:mixed=4:asym"])
def test_frozen_zeros_are_kept(untied, run, pipeline):
    variant = run(untied, Pipeline((Prune(), parse_pass(pipeline))))
    for name, form in variant.manifest.weights.items():
        mask = torch.rand(form.shape, generator=torch.Generator().manual_seed(0)) > 0.5
        stored = variant.weight(name).dequantize()
        assert not stored[~mask].any()
        assert stored[mask].any()


def test_half_precision_checkpoints_keep_their_scales_dtype(untied, run, tmp_path):
    for file in untied.iterdir():
        if file.suffix == ".json":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(untied / "model.safetensors")
    save_file({n: t.bfloat16() for n, t in tensors.items()}, tmp_path / "model.safetensors", {"format": "pt"})
    variant = run(tmp_path, "int4:asym:smooth=awq")
    for name in variant.manifest.weights:
        assert variant.weight(name).scale.dtype == torch.bfloat16
    with torch.no_grad():
        exact = Model.open(str(tmp_path)).torch_module()(torch.arange(3, 40)[None]).logits
        off = variant.torch_module()(torch.arange(3, 40)[None]).logits - exact
    assert off.norm() < 0.6 * exact.norm()  # two unrelated models would be 1.4 apart


def test_the_same_text_and_seed_give_the_same_bytes(untied, run):
    first, other = (run(untied, "int4:asym:mixed=4.5") for _ in range(2))
    assert (first.path / "model.safetensors").read_bytes() == (other.path / "model.safetensors").read_bytes()


def test_calibration_is_read_only_where_it_is_needed(untied, tmp_path):
    def calibration():
        raise AssertionError("calibrated")

    for i, text in enumerate(["int4:solver=rtn", "int8"]):
        (tmp_path / str(i)).mkdir()
        run_pipeline(Model.open(str(untied)), Pipeline.parse(text), ANY, tmp_path / str(i), calibration, 0, Silent())
    with pytest.raises(AssertionError, match="calibrated"):
        run_pipeline(Model.open(str(untied)), Pipeline.parse("int4"), ANY, tmp_path / "0", calibration, 0, Silent())
    assert str(Calibration(torch.zeros(2, 3), "x")) == "x, 2 windows of 3 tokens"
