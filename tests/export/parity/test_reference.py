"""References of torch: which texts, which steps, which outputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compress.calibration.precision import per_token
from compress.checkpoint.model import Model
from compress.export.parity.reference import parity_inputs, reference_traces, rounded_inputs
from compress.modeling.kinds import CLASSIFIER, DECODER, ENCODER, IMAGE_CLASSIFIER
from tests.support.tensors import gaussian, token_ids

IDS = token_ids(1, 9)[0]


@pytest.mark.parametrize("pad_left", [True, False])
def test_texts_are_one_alone_and_three_of_which_two_are_padded(pad_left):
    (_, alone, every), (_, batch, mask) = parity_inputs(IDS, pad_left)
    assert torch.equal(alone, IDS[None])
    assert every.all()
    assert batch.shape == mask.shape == (3, 9)
    assert torch.equal(batch[0], IDS)
    gaps = [0, 3, 6]
    for row, gap in zip(mask, gaps, strict=True):
        padding = row[:gap] if pad_left else row[len(row) - gap :]
        assert not padding.any()
        assert row.sum() == 9 - gap


def test_a_decoders_steps_are_the_text_and_its_last_token(llama):
    module = Model.open(str(llama)).torch_module()
    alone, batch = reference_traces(module, DECODER, IDS)
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
    _, _, crossing = reference_traces(module, DECODER, IDS)
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
    alone, _, crossing = reference_traces(module, DECODER, IDS)
    again, *_ = reference_traces(module, DECODER, IDS)
    assert np.array_equal(alone[1].expected["logits"], again[1].expected["logits"])
    assert len(crossing) == 3


def test_an_encoders_padding_is_not_compared(bert):
    alone, batch = reference_traces(Model.open(str(bert)).torch_module(), ENCODER, IDS)
    assert [len(trace) for trace in (alone, batch)] == [1, 1]
    assert batch[0].expected["last_hidden_state"].shape == (3, 9, 64)
    assert batch[0].compared.tolist() == batch[0].inputs["attention_mask"].astype(bool).tolist()


def test_a_classifiers_second_half_is_a_text_of_its_own(tiny):
    module = Model.open(str(tiny("BertForSequenceClassification", num_labels=5))).torch_module()
    alone, batch = reference_traces(module, CLASSIFIER, IDS)
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


def test_linears_round_their_inputs_inside_alone():
    linear, x = torch.nn.Linear(8, 4, bias=False), gaussian(3, 8)
    module = torch.nn.Sequential(linear)
    exact = module(x)
    with rounded_inputs(module):
        assert torch.equal(module(x), per_token(x) @ linear.weight.T)
        assert not torch.equal(module(x), exact)
    assert torch.equal(module(x), exact)
