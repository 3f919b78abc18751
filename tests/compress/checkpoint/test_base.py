"""What models have in common: facts of the architecture, and those of a checkpoint that passes made."""

from compress.checkpoint.model import Model
from compress.checkpoint.variant import Variant
from compress.export.targets.hf import Hf
from compress.pipeline.predict import ConfigOnlyModel
from tests.support.passes import make_variant


def test_an_outline_is_the_same_with_and_without_weights(llama):
    model, outline = Model.open(llama), ConfigOnlyModel.read(llama)
    assert (outline.names, outline.shapes, outline.matrices) == (model.names, model.shapes, model.matrices)
    assert (outline.class_name, outline.kind, outline.tied) == ("LlamaForCausalLM", model.kind, True)
    assert model.shape("model.layers.0.mlp.down_proj.weight") == (64, 128)
    assert (outline.expert_weights, outline.nonstandard_linear) == (frozenset(), None)


def test_a_resized_model_has_the_new_shapes(llama):
    model = Model.open(llama)

    def narrow(config):
        config.intermediate_size = 96

    narrower = model.resized(narrow)
    assert type(narrower) is Model
    assert narrower.shape("model.layers.1.mlp.up_proj.weight") == (96, 64)
    assert model.shape("model.layers.1.mlp.up_proj.weight") == (128, 64)
    assert model.resized(lambda config: None) is model


def test_only_a_variant_has_a_recipe_and_stored_forms(llama, tmp_path):
    model = Model.open(llama)
    assert (model.recipe, model.stored_forms) == ((), {})
    variant = Variant.open(make_variant(llama, "fp16", Hf.capability, tmp_path / "v").path)
    assert list(variant.recipe) == ["fp16"]
    assert set(variant.stored_forms) == set(model.matrices)
    assert variant.parameters == model.parameters
