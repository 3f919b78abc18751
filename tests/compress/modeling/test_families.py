"""The table of families: every class is transformers' own, of the model type that it stands by."""

import pytest
import transformers

from compress.modeling.families import FAMILIES, supported


@pytest.mark.parametrize("model_type", FAMILIES)
def test_a_family_is_the_class_of_its_model_type(model_type):
    family = FAMILIES[model_type]
    assert getattr(transformers, family.cls).config_class.model_type == model_type


def test_every_class_is_listed_as_supported():
    text = supported()
    for family in FAMILIES.values():
        assert (family.cls if family.kind.has_head else f"{family.cls} (with any head)") in text
    assert text.count(", ") == len(FAMILIES) - 1
