"""From a model to a variant: contracts, round trips, and what transformers makes of the result."""

import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from compress.calibration.walk import walk_blocks
from compress.checkpoint.files.manifest import Manifest
from compress.checkpoint.model import Model
from compress.errors import PassError
from compress.export.targets.ort_cpu import OrtCpu
from compress.pipeline.contract import WeightPass
from compress.pipeline.parse import Pipeline, parse_pass
from compress.progress import Silent
from compress.weights.forms import Dense
from tests.support.passes import make_variant
from tests.support.tensors import token_ids

TOKENS = token_ids(4, 24)


def make(source, pipeline, out, seed=0):
    return make_variant(source, pipeline, OrtCpu.capability, out, TOKENS, seed)


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


def test_a_pass_that_changed_nothing_says_so(llama, tmp_path):
    def notices(pipeline, name, source=llama):
        progress = Silent()
        make_variant(source, pipeline, OrtCpu.capability, tmp_path / name, TOKENS, progress=progress)
        return progress.notices

    assert notices("lowrank:energy=0.9999:whiten=off,int8", "a") == ["lowrank:energy=0.9999:whiten=off changed nothing"]
    assert notices("fp16,bf16", "b") == []
    assert notices("bf16", "d", tmp_path / "b") == ["bf16 changed nothing"]
    assert notices("lowrank:rank=0.4:whiten=off", "c") == []


def test_what_every_pass_says_of_a_matrix_is_kept(llama, tmp_path):
    variant = make(llama, "sparse24:solver=magnitude:refine=off,int8", tmp_path / "v")
    reports = variant.manifest.layers["model.layers.0"].weights.values()
    assert {report.solver for report in reports} == {"magnitude, then rtn"}


def test_matrices_left_dense_are_told(llama, tmp_path):
    variant = make(llama, "lowrank:rank=0.6:whiten=off:pivot=off", tmp_path / "v")
    forms = [form.form for name, form in variant.manifest.weights.items() if ".layers." in name]
    dense, factored = forms.count("dense"), forms.count("factored")
    assert (dense, factored) == (4, 10)
    line = f"{dense} of {dense + factored} matrices were left dense: as products they would not be smaller"
    assert line in (variant.path / "README.md").read_text()


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
    full = make(source, pipeline, tmp_path / "w")
    assert variant.config.num_hidden_layers == 2
    for new, old in (("0", "1"), ("1", "3")):
        for name in [name for name in variant.names if name.startswith(f"model.layers.{new}.")]:
            was = name.replace(f"layers.{new}.", f"layers.{old}.")
            assert torch.equal(variant.weight(name).dequantize(), full.weight(was).dequantize()), name
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
