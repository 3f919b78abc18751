"""Classifiers by their configs: the class, the labels, one label or several."""

import pytest
from transformers import BertConfig

from compress.modeling.classifier import (
    auto_class,
    classifier_class,
    is_classifier_class,
    is_multi_label,
    is_token_classifier,
    label_names,
)
from compress.modeling.kinds import CLASSIFIER, ENCODER, SEQ2SEQ


@pytest.mark.parametrize(
    ("architectures", "cls"),
    [
        (["BertForSequenceClassification"], "BertForSequenceClassification"),
        (["BertForTokenClassification"], "BertForTokenClassification"),
        (["BertForMaskedLM"], None),
        (["RobertaForSequenceClassification"], None),
        ([], None),
        (None, None),
    ],
)
def test_a_classifier_is_its_base_with_one_of_two_heads(architectures, cls):
    assert classifier_class("BertModel", architectures) == cls


@pytest.mark.parametrize(
    ("base", "cls"),
    [
        ("LlamaForCausalLM", "LlamaForSequenceClassification"),
        ("GPT2LMHeadModel", "GPT2ForTokenClassification"),
    ],
)
def test_a_decoder_may_have_such_a_head_too(base, cls):
    assert classifier_class(base, [cls]) == cls
    assert classifier_class(base, [base]) is None
    assert is_classifier_class(cls)
    assert not is_classifier_class(base)


def test_a_user_loads_it_with_the_class_of_its_head():
    assert auto_class(CLASSIFIER, "BertForSequenceClassification") == "AutoModelForSequenceClassification"
    assert auto_class(CLASSIFIER, "BertForTokenClassification") == "AutoModelForTokenClassification"
    assert auto_class(ENCODER, "BertModel") == "AutoModel"
    assert auto_class(SEQ2SEQ, "T5ForConditionalGeneration") == "AutoModelForSeq2SeqLM"
    assert is_token_classifier("BertForTokenClassification")
    assert not is_token_classifier("BertForSequenceClassification")


def test_labels_are_in_the_order_of_their_numbers():
    config = BertConfig(id2label={10: "ten", 2: "two", 1: "one"})
    assert label_names(config) == ["one", "two", "ten"]
    assert not is_multi_label(config)
    assert is_multi_label(BertConfig(id2label={0: "a", 1: "b"}, problem_type="multi_label_classification"))
    assert is_multi_label(BertConfig(id2label={0: "spam"}))
