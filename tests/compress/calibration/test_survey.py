"""A survey's windows: what a walk reads, what variations are measured on, and what decisions are checked on."""

import pytest
import torch

from compress.calibration.divergence import divergences
from compress.calibration.head_inputs import HeadInputs
from compress.calibration.layer_inputs import LayerInputs
from compress.calibration.survey import Survey
from compress.checkpoint.model import Model
from compress.progress import Silent
from tests.support.tensors import token_ids


def doubled_head(block, _):
    return {"doubled": {name: 2 * weight.tensor for name, weight in block.weights.items() if "down" in name}}


def test_a_walk_reads_the_first_windows(llama):
    tokens = token_ids(9, 12)
    walked = [inputs for _, inputs in Survey(Model.open(str(llama)), tokens, Silent())() if inputs.batches]
    assert [type(inputs) for inputs in walked] == [LayerInputs, LayerInputs, HeadInputs]
    assert all(inputs.batches == 2 for inputs in walked)  # of two windows each
    assert not any(inputs.batches for _, inputs in Survey(Model.open(str(llama)), None, Silent())())


@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize("count", [1, 5, 40])
def test_a_decision_is_checked_on_other_windows(llama, exact_products, count, held_out):
    """Two from the even ones, eight from the odd ones, spread evenly; one window has to serve for both."""
    model, tokens = Model.open(str(llama)), token_ids(count, 12)
    expected = {
        (1, False): [0], (1, True): [0],
        (5, False): [0, 2], (5, True): [1, 3],
        (40, False): [0, 20], (40, True): [1, 5, 9, 13, 17, 21, 25, 29],
    }[count, held_out]  # fmt: skip
    actual = Survey(model, tokens, Silent()).divergences(doubled_head, held_out)
    assert actual == pytest.approx(divergences(model, tokens[expected], tokens, doubled_head, Silent()))


def test_long_windows_are_cut(llama, exact_products, monkeypatch):
    monkeypatch.setattr("compress.calibration.survey._MEASURED", (2, 7))
    model, tokens = Model.open(str(llama)), token_ids(2, 12)
    actual = Survey(model, tokens, Silent()).divergences(doubled_head)
    assert actual == pytest.approx(divergences(model, tokens[:1, :7], tokens, doubled_head, Silent()))
    assert not torch.equal(tokens[0], tokens[1])


@pytest.mark.parametrize("held_out", [False, True])
def test_variations_are_solved_on_whole_windows_of_the_same_half(llama, held_out, monkeypatch):
    monkeypatch.setattr("compress.calibration.survey._MEASURED", (1, 7))
    monkeypatch.setattr("compress.calibration.survey._HELD_OUT", (1, 7))
    tokens, states = token_ids(6, 12), []

    def changes(block, inputs):
        states.append(torch.cat(inputs.states))
        return {}

    model = Model.open(str(llama))
    Survey(model, tokens, Silent()).divergences(changes, held_out)
    embedded = model.torch_module().get_input_embeddings()(tokens[1::2] if held_out else tokens[::2])
    assert torch.allclose(states[0].float(), embedded, atol=1e-2)  # bfloat16


def test_a_notice_reaches_the_user(llama):
    progress = Silent()
    Survey(Model.open(str(llama)), None, progress).notice("one width it is")
    assert progress.notices == ["one width it is"]
