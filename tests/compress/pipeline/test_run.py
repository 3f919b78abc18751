"""From a model to a variant: contracts, round trips, and what transformers makes of the result."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from compress.calibration.walk import walk_blocks
from compress.checkpoint.manifest import Manifest
from compress.checkpoint.model import Model
from compress.checkpoint.variant import Variant
from compress.checkpoint.writer import WriteOptions
from compress.errors import ModelError, PassError, UsageError
from compress.export.targets.ort_cpu import OrtCpu
from compress.pipeline.contract import WeightPass
from compress.pipeline.parse import Pipeline, parse_pass
from compress.progress import Silent
from compress.weights.forms import Dense, Factored, Masked, Quantized
from tests.support.passes import make_variant
from tests.support.tensors import token_ids

TOKENS = token_ids(4, 24)


def make(source, pipeline, out, seed=0, storage=None):
    return make_variant(source, pipeline, OrtCpu.capability, out, TOKENS, seed, storage=storage)


@pytest.mark.parametrize("pipeline", ["int8", "int8:group=32", "int8:group=channel", "fp16", "fp16,int8", "bf16"])
@pytest.mark.parametrize("tied", [True, False])
def test_transformers_loads_the_same_numbers_and_generates(tiny, tmp_path, pipeline, tied):
    variant = make(tiny("LlamaForCausalLM", tie_word_embeddings=tied), pipeline, tmp_path / "v")
    theirs = AutoModelForCausalLM.from_pretrained(variant.path, dtype=torch.float32)
    ours = variant.torch_module()
    with torch.no_grad():
        assert torch.equal(theirs(TOKENS).logits, ours(TOKENS).logits)
    prompt = AutoTokenizer.from_pretrained(variant.path)("the quick", return_tensors="pt")
    written = theirs.generate(**prompt, max_new_tokens=4, do_sample=False)
    assert written.shape[1] > prompt["input_ids"].shape[1]


@pytest.mark.parametrize("name", ["BertModel", "Qwen2ForCausalLM", "MistralForCausalLM", "Qwen3ForCausalLM"])
def test_other_families_load_too(tiny, tmp_path, name):
    variant = make(tiny(name), "int8:act=none", tmp_path / "v")
    cls = AutoModel if name == "BertModel" else AutoModelForCausalLM
    with torch.no_grad():
        theirs = cls.from_pretrained(variant.path, dtype=torch.float32)(TOKENS)[0]
        assert torch.equal(theirs, variant.torch_module()(TOKENS)[0])


@pytest.mark.parametrize("pipeline", ["int8", "int8:act=none"])
def test_an_encoder_without_a_pooler_loads_too(tiny, tmp_path, pipeline):
    variant = make(tiny("BertForMaskedLM"), pipeline, tmp_path / "v")
    theirs = AutoModel.from_pretrained(variant.path, dtype=torch.float32)
    with torch.no_grad():
        expected, actual = variant.torch_module()(TOKENS)[0], theirs(TOKENS)[0]
    assert (actual - expected).norm() / expected.norm() < (0.05 if pipeline == "int8" else 1e-6)


def test_dynamic_inputs_are_written_so_that_transformers_rounds_them(untied, tmp_path):
    variant = make(untied, "int8:act=dynamic:fallback=1", tmp_path / "v")
    scheme = json.loads((variant.path / "config.json").read_text())["quantization_config"]["config_groups"]["group_0"]
    assert scheme["input_activations"]["strategy"] == "token"
    assert scheme["format"] == "int-quantized"
    with torch.no_grad():
        theirs = AutoModelForCausalLM.from_pretrained(variant.path, dtype=torch.float32)(TOKENS).logits
        ours = variant.torch_module()(TOKENS).logits
    assert 0 < (theirs - ours).norm() / ours.norm() < 0.1


def test_the_variant_reads_back_what_the_passes_made(llama, tmp_path):
    variant = Variant.open(make(llama, "int8:group=32", tmp_path / "v").path)
    model = Model.open(str(llama))
    for name in variant.names:
        if name.endswith("proj.weight") or "embed" in name:
            weight = variant.weight(name)
            assert isinstance(weight, Quantized)
            assert (weight.bits, weight.group, weight.act) == (8, 32, None)
            step = weight.scale.repeat_interleave(32, 1)
            assert ((weight.dequantize() - model.tensor(name)).abs() <= step / 2 + 1e-6).all()
        else:
            assert torch.equal(variant.tensor(name), model.tensor(name))
    assert variant.tied
    assert variant.config.tie_word_embeddings
    assert variant.names == model.names


def test_a_tied_head_is_quantized_once_and_written_twice(llama, tmp_path):
    variant = make(llama, "int8", tmp_path / "v")
    stored = load_file(variant.path / "model.safetensors")
    assert torch.equal(stored["lm_head.weight_scale"], stored["model.embed_tokens.weight_scale"])
    assert "lm_head.weight" not in variant.manifest.weights
    assert json.loads((variant.path / "config.json").read_text())["tie_word_embeddings"] is False


def test_a_tied_head_left_float_stays_tied(llama, tmp_path):
    variant = make(llama, "int8:head=float:embed=float", tmp_path / "v")
    assert "lm_head.weight" not in load_file(variant.path / "model.safetensors")
    assert json.loads((variant.path / "config.json").read_text())["tie_word_embeddings"] is True


def test_the_manifest_says_what_was_done(llama, tmp_path):
    variant = make(llama, "int8:act=dynamic", tmp_path / "v", seed=7)
    manifest = Manifest.read(variant.path)
    model = Model.open(str(llama))
    assert manifest.source.sha256 == model.digest
    assert (manifest.source.parameters, manifest.source.tied) == (model.parameters, True)
    assert manifest.pipeline == "int8:act=dynamic"
    assert manifest.recipe == ["int8:act=dynamic"]
    assert manifest.seed == 7
    assert manifest.calibration == "test, 4 windows of 24 tokens"
    assert {"python", "torch", "compress"} <= set(manifest.versions)
    assert manifest.machine["cores"]
    again = make(llama, "int8", tmp_path / "w").manifest
    assert again.recipe == ["int8:smooth=off:act=none"]
    assert again.calibration == "none"


def test_the_card_names_the_model_and_the_recipe(llama, tmp_path):
    card = (make(llama, "int8", tmp_path / "v").path / "README.md").read_text()
    assert card.startswith(f"---\nbase_model: {llama.name}\nbase_model_relation: quantized\n")
    assert "recipe: `int8:smooth=off:act=none`, seed 0" in card


def test_large_checkpoints_are_sharded(untied, tmp_path):
    variant = make(untied, "int8", tmp_path / "v", storage=WriteOptions(shard_bytes=40_000))
    assert len(list(variant.path.glob("model-*-of-*.safetensors"))) > 1
    with torch.no_grad():
        theirs = AutoModelForCausalLM.from_pretrained(variant.path, dtype=torch.float32)(TOKENS).logits
        assert torch.equal(theirs, variant.torch_module()(TOKENS).logits)


def test_a_directory_that_is_no_variant_is_refused(llama):
    with pytest.raises(ModelError, match="is not a variant: it has no compress.json"):
        Variant.open(llama)


def test_a_variant_whose_bytes_changed_is_refused(llama, tmp_path):
    file = make(llama, "int8", tmp_path / "v").path / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelError, match="model.safetensors"):
        Variant.open(file.parent)


def test_a_damaged_manifest_is_named(llama, tmp_path):
    variant = make(llama, "int8", tmp_path / "v")
    (variant.path / "compress.json").write_text("{}")
    with pytest.raises(ModelError, match=r"compress.json can't be read: source: Field required"):
        Variant.open(variant.path)


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("int8:head=float", "head and embedding are tied, so set both alike: head=float:embed=float"),
        ("int8:act=dynamic:group=32", "act=dynamic needs one scale a channel"),
        ("int8:group=128", r"group=128 doesn't divide the 64 inputs of .*; use group=64"),
    ],
)
def test_what_cannot_work_on_a_model_is_refused_before_the_work(llama, tmp_path, pipeline, message):
    with pytest.raises(UsageError, match=message):
        make(llama, pipeline, tmp_path / "v")
    assert not list((tmp_path / "v").iterdir())


class Broken(WeightPass):
    """A pass that breaks its contract."""

    accepts = (Dense, Masked, Quantized, Factored)
    produces = (Dense, Masked)

    def __init__(self, change):
        self.change = change

    def __str__(self):
        return "broken"

    def apply(self, name, weight, stats):
        return self.change(weight)


Broken.name = "broken"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: Dense(w.tensor[:1]), r"left .* as \[1, 64\], but by the variant's config \[\d+, 64\] is needed"),
        (lambda w: Dense(w.tensor.double()), "larger"),
        (lambda w: Dense(w.tensor * float("nan")), "NaN"),
    ],
)
def test_postconditions_are_checked(llama, tmp_path, change, message):
    with pytest.raises(PassError, match=message):
        make(llama, Pipeline((Broken(change),)), tmp_path / "v")


def test_a_mask_is_a_postcondition(llama, tmp_path):
    def masked(weight):
        return Masked(torch.zeros_like(weight.tensor), torch.zeros_like(weight.tensor, dtype=torch.bool))

    def refill(weight):
        return Dense(weight.tensor + 1)

    make(llama, Pipeline((Broken(masked), parse_pass("int8"))), tmp_path / "v")
    with pytest.raises(PassError, match="filled or forgot zeros"):
        make(llama, Pipeline((Broken(masked), Broken(refill))), tmp_path / "w")


def test_a_pass_that_changed_nothing_says_so(llama, tmp_path):
    def notices(pipeline, name):
        progress = Silent()
        make_variant(llama, pipeline, OrtCpu.capability, tmp_path / name, TOKENS, progress=progress)
        return progress.notices

    assert notices("lowrank:energy=0.9999:whiten=off,int8", "a") == ["lowrank:energy=0.9999:whiten=off changed nothing"]
    assert notices("fp16,bf16", "b") == ["bf16 changed nothing"]
    assert notices("lowrank:rank=0.4:whiten=off", "c") == []


def test_what_every_pass_says_of_a_matrix_is_kept(llama, tmp_path):
    made = make(llama, "sparse24:solver=magnitude:refine=off,int8", tmp_path / "v")
    reports = made.manifest.layers["model.layers.0"].weights.values()
    assert {report.solver for report in reports} == {"magnitude, then rtn"}


def test_matrices_left_dense_are_told(llama, tmp_path):
    made = make(llama, "lowrank:rank=0.6:whiten=off", tmp_path / "v")
    forms = [form.form for name, form in made.manifest.weights.items() if ".layers." in name]
    left, factored = forms.count("dense"), forms.count("factored")
    assert (left, factored) == (4, 10)
    line = f"{left} of {left + factored} matrices were left dense: as products they would not be smaller"
    assert line in (made.path / "README.md").read_text()


class Without(WeightPass):
    """Drops layers, and says of the config what it is told to."""

    produces = (Dense,)

    def __init__(self, layers, left):
        self.layers, self.left = layers, left

    def __str__(self):
        return "without"

    def resize(self, config):
        config.num_hidden_layers = self.left

    def run(self, block, inputs):
        block.dropped = block.name in self.layers

    def apply(self, name, weight, stats):
        return weight


Without.name = "without"


@pytest.mark.parametrize("pipeline", ["int8", "fp16"])
def test_layers_behind_a_dropped_one_are_renumbered(tiny, tmp_path, pipeline):
    source = tiny("LlamaForCausalLM", num_hidden_layers=4)
    dropping = Without({"model.layers.0", "model.layers.2"}, 2)
    variant = make(source, Pipeline((dropping, parse_pass(pipeline))), tmp_path / "v")
    whole = make(source, pipeline, tmp_path / "w")
    assert variant.config.num_hidden_layers == 2
    for new, old in (("0", "1"), ("1", "3")):
        for name in [name for name in variant.names if name.startswith(f"model.layers.{new}.")]:
            was = name.replace(f"layers.{new}.", f"layers.{old}.")
            assert torch.equal(variant.weight(name).dequantize(), whole.weight(was).dequantize()), name
    assert [name for name in variant.manifest.layers if "layers" in name] == ["model.layers.0", "model.layers.1"]
    assert variant.manifest.parameters == sum(t.numel() for t in variant.torch_module().parameters())
    with torch.no_grad():
        theirs = AutoModelForCausalLM.from_pretrained(variant.path, dtype=torch.float32)(TOKENS).logits
        assert torch.equal(theirs, variant.torch_module()(TOKENS).logits)


def test_layers_that_nothing_changed_are_read_again_by_their_old_names(tiny, tmp_path):
    source = tiny("LlamaForCausalLM", num_hidden_layers=4)
    variant = make(source, Pipeline((Without({"model.layers.1"}, 3),)), tmp_path / "v")
    model = Model.open(str(source))
    assert torch.equal(
        variant.tensor("model.layers.1.mlp.up_proj.weight"), model.tensor("model.layers.2.mlp.up_proj.weight")
    )


def test_a_dropped_layer_hands_its_inputs_on_and_the_original_goes_through(tiny, monkeypatch):
    monkeypatch.setattr("compress.calibration.precision.native_bfloat16", lambda: False)
    source = tiny("LlamaForCausalLM", num_hidden_layers=3)
    states, originals, outputs = {}, {}, {}
    for block, inputs in walk_blocks(Model.open(str(source)), TOKENS, Silent(), originals=True):
        if block.role == "layer":
            block.dropped = block.name == "model.layers.1"
            states[block.name], originals[block.name] = inputs.states[0].clone(), inputs.original_states[0].clone()
            inputs.refresh()
            outputs[block.name] = inputs.target(0)
    assert torch.equal(states["model.layers.2"], states["model.layers.1"])
    assert torch.equal(originals["model.layers.2"], outputs["model.layers.1"])
    assert not torch.equal(originals["model.layers.2"], states["model.layers.2"])


def test_a_config_that_says_otherwise_than_its_layers_is_refused(untied, tmp_path):
    with pytest.raises(PassError, match="2 layers are left, but by the variant's config 1 are needed"):
        make(untied, Pipeline((Without(set(), 1),)), tmp_path / "v")
