"""References of torch: which texts, which steps, which outputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compress.checkpoint.model import Model
from compress.export.parity.reference import reference_traces
from compress.modeling.kinds import CLASSIFIER, DECODER, ENCODER, IMAGE_CLASSIFIER
from tests.support.tensors import gaussian, token_ids

IDS = token_ids(1, 9)[0]


def test_a_decoders_steps_are_the_text_and_its_last_token(llama):
    module = Model.open(str(llama)).torch_module()
    alone, batch, _ = reference_traces(module, DECODER, IDS)
    with torch.inference_mode():
        logits = module(IDS[None]).logits.numpy()
    assert [step.inputs["input_ids"].shape for step in alone] == [(1, 8), (1, 1)]
    assert [step.inputs["attention_mask"].shape for step in alone] == [(1, 8), (1, 9)]
    assert alone[1].inputs["position_ids"].tolist() == [[8]]
    assert np.array_equal(np.concatenate([step.expected["logits"] for step in alone], 1), logits)
    assert [step.expected["present.1.value"].shape[2] for step in alone] == [8, 9]
    assert set(batch[0].expected) == {"logits"}  # a cache of padding is nobody's
    assert batch[0].inputs["position_ids"][2].tolist() == [0, 0, 0, 0, 0, 0, 0, 1]
    assert batch[0].compared.sum(1).tolist() == [8, 5, 2]


def test_a_long_texts_steps_lie_around_each_length_at_which_a_model_changes(tiny):
    """Behind a random cache: the last tokens before the length, the one behind it, and some more."""
    path = tiny("MistralForCausalLM", sliding_window=40)
    module = Model.open(str(path)).torch_module()
    _, _, crossing, _ = reference_traces(module, DECODER, IDS)
    assert [step.inputs["position_ids"].tolist()[0] for step in crossing] == [
        [36, 37, 38, 39], [40], list(range(41, 53)),
    ]  # fmt: skip
    first, second, _ = crossing
    assert first.inputs["past_key_values.1.value"].shape == (1, 2, 36, 16)
    assert not any(name.startswith("past") for name in second.inputs)
    assert [step.inputs["attention_mask"].shape for step in crossing] == [(1, 40), (1, 41), (1, 53)]
    assert first.expected["present.0.key"].shape == (1, 2, 4, 16)
    values = first.inputs["past_key_values.0.value"]
    assert np.abs(values).mean() > 4 * np.abs(first.expected["present.0.value"]).mean()  # √36 times as large


def test_the_last_words_at_the_last_positions_are_read_too(tiny):
    """Of tables that no few sentences reach: of a vocabulary, of positions."""
    marks = {"vocab_size": 331, "pad_token_id": 330, "eos_token_id": 0, "bos_token_id": 0}
    module = Model.open(str(tiny("LlamaForCausalLM", **marks))).torch_module()
    *_, late = reference_traces(module, DECODER, IDS)
    assert np.concatenate([step.inputs["position_ids"][0] for step in late]).tolist() == list(range(112, 128))
    words = np.concatenate([step.inputs["input_ids"][0] for step in late])
    assert (np.diff(words) > 0).all()
    assert words[0] == 1
    assert words[-1] == 329
    encoder = Model.open(str(tiny("BertModel", vocab_size=331, max_position_embeddings=48))).torch_module()
    *_, long = reference_traces(encoder, ENCODER, IDS)
    assert long[0].inputs["input_ids"].shape == (1, 48)
    assert long[0].inputs["input_ids"][0, -1] == 330


def test_no_token_lies_beyond_the_context(tiny):
    module = Model.open(str(tiny("MistralForCausalLM", sliding_window=40))).torch_module()
    *_, late = reference_traces(module, DECODER, IDS, context=48)
    assert late[-1].inputs["position_ids"][0, -1] == 47
    assert len(reference_traces(module, DECODER, IDS, context=48)) == 3
    assert len(reference_traces(module, DECODER, IDS, context=53)) == 4


def test_rotations_that_change_are_those_of_each_call(tiny):
    """Keys keep the factors that they were written with: the text at once has others."""
    factors = {"short_factor": [1.0] * 8, "long_factor": [4.0] * 8}
    longrope = {"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 8, **factors}
    module = Model.open(str(tiny("LlamaForCausalLM", rope_parameters=longrope))).torch_module()
    alone, *_ = reference_traces(module, DECODER, IDS)
    with torch.inference_mode():
        at_once = module(IDS[None]).logits.numpy()
        short = module(IDS[None, :8]).logits.numpy()
    assert np.array_equal(alone[0].expected["logits"], short)
    assert np.abs(alone[1].expected["logits"] - at_once[:, 8:]).max() > 1e-3


def test_dynamic_rotations_begin_anew_for_every_text(tiny):
    """transformers keeps those of the longest text so far."""
    dynamic = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    module = Model.open(
        str(tiny("LlamaForCausalLM", rope_parameters=dynamic, max_position_embeddings=8))
    ).torch_module()
    alone, _, crossing = reference_traces(module, DECODER, IDS)  # no text is long enough to be late in
    again, *_ = reference_traces(module, DECODER, IDS)
    assert np.array_equal(alone[1].expected["logits"], again[1].expected["logits"])
    assert len(crossing) == 3


def test_an_encoders_padding_is_not_compared(bert):
    alone, batch, _ = reference_traces(Model.open(str(bert)).torch_module(), ENCODER, IDS)
    assert [len(trace) for trace in (alone, batch)] == [1, 1]
    assert batch[0].expected["last_hidden_state"].shape == (3, 9, 64)
    assert batch[0].compared.tolist() == batch[0].inputs["attention_mask"].astype(bool).tolist()


def test_a_classifiers_second_half_is_a_text_of_its_own(tiny):
    module = Model.open(str(tiny("BertForSequenceClassification", num_labels=5))).torch_module()
    alone, batch, long = reference_traces(module, CLASSIFIER, IDS)
    assert long[0].inputs["input_ids"].shape == (1, 128)
    assert alone[0].inputs["token_type_ids"].tolist() == [[0] * 4 + [1] * 5]
    assert batch[0].expected["logits"].shape == (3, 5)
    assert batch[0].compared.tolist() == [True] * 3
    assert batch[0].least == 1.0
    with torch.inference_mode():
        plain = module(IDS[None]).logits.numpy()
    assert not np.array_equal(alone[0].expected["logits"], plain)


def test_images_are_one_alone_and_all_together(tiny):
    module = Model.open(
        str(tiny("ViTForImageClassification", image_size=32, patch_size=16, num_labels=3))
    ).torch_module()
    traces = reference_traces(module, IMAGE_CLASSIFIER, gaussian(2, 3, 32, 32))
    assert [trace[0].expected["logits"].shape for trace in traces] == [(1, 3), (2, 3)]
    assert traces[0][0].expected["logits"] == pytest.approx(traces[1][0].expected["logits"][:1], abs=1e-5)
