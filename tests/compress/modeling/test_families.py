"""Families: every model type's class is transformers' own, and of the kind that it is used for."""

import pytest
import transformers

from compress.modeling.families import family_of, is_decoder_type, runs_layer_by_layer
from compress.modeling.kinds import DECODER, ENCODER, IMAGE_CLASSIFIER, SEQ2SEQ
from tests.whole.test_families import FAMILIES as TINY

MODEL_TYPES = sorted({getattr(transformers, name).config_class.model_type for name, _ in TINY.values()})


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_a_family_is_the_class_of_its_model_type(model_type):
    family = family_of(model_type)
    assert getattr(transformers, family.cls).config_class.model_type == model_type


@pytest.mark.parametrize(
    ("model_type", "cls", "kind"),
    [
        ("llama", "LlamaForCausalLM", DECODER),
        ("granite", "GraniteForCausalLM", DECODER),
        ("bert", "BertModel", ENCODER),
        ("xlm-roberta", "XLMRobertaModel", ENCODER),
        ("bart", "BartForConditionalGeneration", SEQ2SEQ),
        ("deit", "DeiTForImageClassification", IMAGE_CLASSIFIER),
    ],
)
def test_what_also_fills_masks_is_an_encoder_unless_it_writes_by_a_decoder(model_type, cls, kind):
    family = family_of(model_type)
    assert (family.cls, family.kind) == (cls, kind)
    assert is_decoder_type(model_type) == (kind is DECODER)


def test_other_kinds_and_unknown_types_have_none():
    assert family_of("wav2vec2") is None
    assert family_of("no such type") is None
    assert not is_decoder_type("no such type")


def test_packed_integers_are_loaded_of_all_but_t5():
    assert not family_of("t5").packs
    assert family_of("bart").packs


def test_some_layers_are_bound_to_their_model():
    assert runs_layer_by_layer("llama")
    assert not runs_layer_by_layer("gemma3n_text")
