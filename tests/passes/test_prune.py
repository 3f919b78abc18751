"""Pruning tiny models of every family: what goes, what the config says, what others make of the result."""

import json

import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM

from compress.checkpoint.model import Model
from compress.errors import PassError, UsageError
from compress.export.targets.ort_cpu import OrtCpu
from compress.passes.prune import Prune
from compress.pipeline.parse import Pipeline
from compress.progress import Silent
from compress.weights.forms import Masked
from tests.support.tensors import token_ids

pytestmark = pytest.mark.usefixtures("exact_products")
TOKENS = token_ids(10, 32)
DECODERS = ["LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"]
ENCODERS = ["BertModel", "RobertaModel", "DistilBertModel"]
LAYERS = {"DistilBertModel": "n_layers"}
WIDTHS = {"DistilBertModel": "hidden_dim"}


def build(tiny, name, layers=2, width=128, **options):
    sizes = {LAYERS.get(name, "num_hidden_layers"): layers, WIDTHS.get(name, "intermediate_size"): width}
    if name == "DistilBertModel":
        sizes |= {"dim": 64, "n_heads": 4, "num_hidden_layers": layers}
    return tiny(name, **sizes, **options)


def outputs(module):
    with torch.no_grad():
        return module(TOKENS)[0]


def off(path, variant):
    """Relative error of a variant's outputs."""
    exact = outputs(Model.open(str(path)).torch_module())
    return float((outputs(variant.torch_module()) - exact).norm() / exact.norm())


def reloaded(variant):
    cls = AutoModelForCausalLM if variant.kind.is_decoder_only else AutoModel
    return cls.from_pretrained(variant.path, dtype=torch.float32)


@pytest.mark.parametrize("name", [*DECODERS, *ENCODERS])
def test_mlps_become_narrower_in_every_family(tiny, run, name):
    path = build(tiny, name)
    variant = run(path, "prune:ratio=0.3")
    assert json.loads((variant.path / "config.json").read_text())[WIDTHS.get(name, "intermediate_size")] == 88
    for weight, stored in variant.manifest.weights.items():
        if weight.endswith(("up_proj.weight", "intermediate.dense.weight", "lin1.weight")):
            assert stored.shape == (88, 64)
            biases = [n for n in variant.names if n == weight.replace("weight", "bias")]
            assert all(variant.tensor(bias).shape == (88,) for bias in biases)
        if weight.endswith(("down_proj.weight", "lin2.weight")):
            assert stored.shape == (64, 88)
    assert torch.equal(outputs(reloaded(variant)), outputs(variant.torch_module()))
    assert 0 < off(path, variant) < off(path, run(path, "prune:ratio=0.3:compensate=off"))
    gone = 2 * (3 * 64 * 40 if name in DECODERS else 2 * 64 * 40 + 40)
    assert Model.open(str(path)).parameters - variant.manifest.parameters == gone


@pytest.mark.parametrize("name", DECODERS)
def test_heads_go_with_the_query_heads_that_they_serve(tiny, run, name):
    path = build(tiny, name, hidden_size=48, num_attention_heads=6, num_key_value_heads=3, head_dim=8)
    variant = run(path, "prune:what=heads")
    config = json.loads((variant.path / "config.json").read_text())
    assert [config[key] for key in ("num_attention_heads", "num_key_value_heads", "head_dim")] == [4, 2, 8]
    shapes = {n.split(".")[4]: s.shape for n, s in variant.manifest.weights.items() if ".layers.1.self_attn" in n}
    assert shapes == {"q_proj": (32, 48), "k_proj": (16, 48), "v_proj": (16, 48), "o_proj": (48, 32)}
    model = Model.open(str(path))
    for layer in range(2):
        stem = f"model.layers.{layer}.self_attn"
        before, after = (model.weight(f"{stem}.k_proj.weight"), variant.weight(f"{stem}.k_proj.weight"))
        rows = before.tensor.view(3, 8, 48)
        remaining = [i for i in range(3) if any(torch.equal(rows[i], part) for part in after.tensor.view(2, 8, 48))]
        assert len(remaining) == 2
        query = model.weight(f"{stem}.q_proj.weight").tensor.view(3, 16, 48)[remaining].flatten(0, 1)
        assert torch.equal(variant.weight(f"{stem}.q_proj.weight").tensor, query)
    assert torch.equal(outputs(reloaded(variant)), outputs(variant.torch_module()))


@pytest.mark.parametrize("option", ["mlp:ratio=0.5", "heads:ratio=0.5"])
def test_channels_that_do_nothing_go_and_nothing_is_lost(llama, run, tmp_path, option):
    module = Model.open(str(llama)).torch_module()
    with torch.no_grad():
        for i, layer in enumerate(module.model.layers):
            layer.mlp.up_proj.weight[i::2] = 0  # even channels here, odd ones there
            layer.self_attn.v_proj.weight.view(2, 16, 64)[i] = 0
    module.save_pretrained(tmp_path)
    assert off(tmp_path, run(tmp_path, f"prune:what={option}")) < 1e-5


def test_the_layer_that_turns_nothing_goes_and_nothing_is_lost(tiny, run, tmp_path):
    module = Model.open(str(tiny("LlamaForCausalLM", num_hidden_layers=4))).torch_module()
    with torch.no_grad():
        module.model.layers[2].mlp.down_proj.weight.zero_()
        module.model.layers[2].self_attn.o_proj.weight.zero_()
    module.save_pretrained(tmp_path)
    variant = run(tmp_path, "prune:what=blocks")
    assert variant.manifest.recipe == ["prune:what=blocks:layers=2"]
    assert variant.config.num_hidden_layers == 3
    assert off(tmp_path, variant) == 0
    assert torch.equal(outputs(reloaded(variant)), outputs(variant.torch_module()))


@pytest.mark.parametrize("name", ["Qwen2ForCausalLM", "BertModel", "DistilBertModel"])
def test_named_layers_go(tiny, run, name):
    path = build(tiny, name, layers=3)
    variant = run(path, "prune:what=blocks:layers=0+2")
    assert variant.config.num_hidden_layers == 1
    remaining = Model.open(str(path)).torch_module()
    base = remaining.base_model
    stack = (
        base.layers if name.startswith("Qwen") else getattr(base, "encoder", getattr(base, "transformer", None)).layer
    )
    del stack[2], stack[0]
    remaining.config.num_hidden_layers = 1
    remaining.config.layer_types, remaining.config.use_cache = ["full_attention"], False
    assert torch.equal(outputs(variant.torch_module()), outputs(remaining))
    assert torch.equal(outputs(reloaded(variant)), outputs(remaining))


def test_what_is_said_of_each_layer_stays_with_it(tiny, run):
    """The second and the fourth layer of this one rotate nothing."""
    path = tiny("SmolLM3ForCausalLM", num_hidden_layers=4, no_rope_layers=[1, 0, 1, 0])
    variant = run(path, "prune:what=blocks:layers=0")
    assert variant.config.no_rope_layers == [0, 1, 0]
    remaining = Model.open(str(path)).torch_module()
    del remaining.model.layers[0]
    remaining.config.num_hidden_layers = 3
    remaining.config.layer_types, remaining.config.use_cache = remaining.config.layer_types[1:], False
    assert torch.equal(outputs(variant.torch_module()), outputs(remaining))
    assert torch.equal(outputs(reloaded(variant)), outputs(remaining))


def test_layers_that_a_config_tells_by_their_numbers_stay(tiny, run):
    path = tiny(
        "Qwen3MoeForCausalLM", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=64, mlp_only_layers=[1]
    )
    with pytest.raises(UsageError, match="mlp_only_layers in the config goes by the layers' numbers"):
        run(path, "prune:what=blocks:layers=0")


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "Qwen3ForCausalLM", "BertModel"])
def test_kinds_of_pruning_compose_with_each_other_and_with_what_follows(tiny, run, tmp_path, name):
    """And onnxruntime computes what torch does, or the export's parity gate would refuse it."""
    heads = "" if name == "BertModel" else "prune:what=heads:ratio=0.5,"
    pipeline = Pipeline.parse(f"prune:what=blocks:ratio=0.3,{heads}prune:ratio=0.5,int4,fuse")
    variant = run(build(tiny, name, layers=3), pipeline)
    assert variant.config.num_hidden_layers == 2
    assert variant.config.intermediate_size == 64
    assert {stored.bits for n, stored in variant.manifest.weights.items() if ".layer" in n} == {4}
    artifact = OrtCpu().export(variant, pipeline.graph_passes, tmp_path, Silent())
    assert artifact.parameters == variant.manifest.source.parameters > variant.manifest.parameters
    if variant.kind.is_decoder_only:
        config = json.loads((tmp_path / "genai_config.json").read_text())["model"]["decoder"]
        assert (config["num_hidden_layers"], config["num_attention_heads"], config["num_key_value_heads"]) == (2, 2, 1)


def test_half_stays_half_and_the_report_knows_the_output_error(llama, run):
    variant = run(llama, "fp16,prune")
    reports = variant.manifest.layers["model.layers.0"].weights
    assert all(variant.tensor(name).dtype == torch.float16 for name in variant.names)
    down, up = (reports[f"model.layers.0.mlp.{name}_proj.weight"] for name in ("down", "up"))
    assert (down.solver, up.solver, up.error) == ("fp16, then nystrom", "fp16, then dropped", None)
    assert 0.01 < down.error < 0.3
    model = Model.open(str(llama))
    before, after = (c.weight("model.layers.0.mlp.up_proj.weight").dequantize() for c in (model, variant))
    assert up.weight_error == pytest.approx(1 - float(after.square().sum() / before.square().sum()), abs=1e-3)


def test_inputs_that_are_always_zero_are_dropped_and_said_to_be(llama, run, tmp_path):
    module = Model.open(str(llama)).torch_module()
    module.model.layers[0].mlp.up_proj.weight.data.zero_()
    module.save_pretrained(tmp_path)
    report = run(tmp_path, "prune").manifest.layers["model.layers.0"].weights["model.layers.0.mlp.down_proj.weight"]
    assert report.solver == "dropped (fallback: its inputs are zero on all of the calibration text)"


def test_a_mask_is_refused(llama):
    """Which channels went would be all that is left of it."""
    from compress.calibration.block import Block
    from compress.calibration.layer_inputs import BlockInputs

    matrix = torch.ones(4, 4)
    names = [f"model.layers.0.mlp.{name}_proj.weight" for name in ("gate", "up", "down")]
    block = Block("model.layers.0", "layer", {name: Masked(matrix, matrix > 0) for name in names}, {})
    with pytest.raises(PassError, match="dense weights; model.layers.0.mlp.gate_proj.weight isn't one"):
        Prune().run(block, BlockInputs())


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("prune:ratio=0.01", "drops none of 128 MLP channels, which go by 8; give at least ratio=0.0625"),
        ("prune:ratio=0.99", "drops all of 128 MLP channels, which go by 8; give at most ratio=0.938"),
        ("prune:what=heads:ratio=0.05", "drops none of 8 key-value heads; give at least ratio=0.125"),
        ("prune:what=blocks:ratio=0.1", "drops none of 2 layers; give at least ratio=0.5"),
        (
            "prune:what=heads",
            r"no valid config \(.*hidden size .64. is not a multiple .*\); give ratio=0.5 or 0.75 or 0.875",
        ),
        ("prune:layers=1", "layers=1 needs what=blocks"),
        ("prune:what=blocks:layers=2", "layers=2 should be numbers from 0 to 1, joined by +"),
        ("prune:what=blocks:layers=0+x", r"layers=0\+x should be numbers"),
        ("prune:what=blocks:layers=0+1", "drops all 2 layers"),
        ("prune,int4:group=64", "group=64 doesn't divide the 96 inputs of .*down_proj.weight; use group=32"),
        ("int8,prune", "prune works on Dense weights, but int8 may leave .*; this order works: prune,int8"),
        ("int4,prune,fuse", "this order works: prune,int4,fuse"),
        ("prune:ratio=1", "ratio=1: it should be less than 1"),
    ],
)
def test_what_cannot_work_is_refused_before_the_work(tiny, run, pipeline, message):
    path = tiny("LlamaForCausalLM", num_attention_heads=8, num_key_value_heads=8)
    with pytest.raises(UsageError, match=message):
        run(path, pipeline)


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_keep_their_heads(tiny, run, name):
    with pytest.raises(
        UsageError, match=f"the config of a {name} can't say fewer heads of the same size; use what=mlp"
    ):
        run(build(tiny, name), "prune:what=heads")


def test_layers_are_dropped_once(tiny, run):
    path = tiny("LlamaForCausalLM", num_hidden_layers=4)
    with pytest.raises(UsageError, match="layers=0 and prune:ratio=0.5:what=blocks both drop layers; let one of them"):
        run(path, "prune:what=blocks:layers=0,prune:what=blocks:ratio=0.5")
