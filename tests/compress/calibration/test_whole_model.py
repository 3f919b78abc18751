"""The whole model as a function of its weights: outputs, targets and losses against torch's own."""

import pytest
import torch
from torch.nn import functional

from compress.calibration.block import Block
from compress.calibration.whole_model import WholeInputs
from compress.checkpoint.model import Model
from compress.progress import Silent
from compress.weights.forms import Dense
from tests.support.tensors import token_ids

pytestmark = pytest.mark.usefixtures("exact_products")
TOKENS = token_ids(3, 10)


def whole_inputs(path, tokens=TOKENS):
    model = Model.open(path)
    weights = {name: Dense(model.tensor(name)) for name in model.matrices}
    vectors = {name: model.tensor(name) for name in model.names if name not in weights}
    block = Block("model", "model", weights, vectors)
    return model, WholeInputs(model, model.architecture, block, tokens, Silent())


@pytest.mark.parametrize(("name", "output"), [("untied", "logits"), ("bert", "last_hidden_state")])
def test_its_outputs_are_the_models(request, name, output):
    model, inputs = whole_inputs(request.getfixturevalue(name))
    with torch.no_grad():
        expected = getattr(model.torch_module()(TOKENS[:2], attention_mask=torch.ones_like(TOKENS[:2])), output)
    parameters = {weight: model.tensor(weight) for weight in model.matrices}
    assert inputs.batches == 2
    assert torch.allclose(inputs.target(0), expected, atol=1e-5)
    assert torch.allclose(inputs.forward(0, parameters), expected, atol=1e-5)
    assert float(inputs.loss(inputs.forward(0, parameters), inputs.target(0))) == pytest.approx(0, abs=1e-6)


def test_an_encoder_decoders_outputs_are_the_models(random_model):
    model, inputs = whole_inputs(
        random_model("T5ForConditionalGeneration", d_model=32, d_ff=64, d_kv=8, num_heads=4, num_layers=2)
    )
    parameters = {weight: model.tensor(weight).requires_grad_() for weight in model.matrices}
    output = inputs.forward(0, parameters)
    torch.testing.assert_close(output, inputs.target(0), rtol=1e-4, atol=1e-5)
    output.square().sum().backward()
    assert all(weight.grad is not None for weight in parameters.values())


def test_the_loss_is_the_divergence_and_so_is_its_gradient(untied):
    _, inputs = whole_inputs(untied)
    random = torch.Generator().manual_seed(0)
    output = torch.randn(2, 5, 17, generator=random, requires_grad=True)
    exact = torch.randn(2, 5, 17, generator=random)
    same = output.detach().clone().requires_grad_()
    naive = functional.kl_div(same.log_softmax(-1), exact.log_softmax(-1), log_target=True, reduction="none")
    naive = naive.sum(-1).mean()
    loss = inputs.loss(output * 1.0, exact)
    assert loss.item() == pytest.approx(naive.item(), rel=1e-5)
    loss.backward()
    naive.backward()
    assert torch.allclose(output.grad, same.grad, atol=1e-6)


def test_matrices_of_a_layer_are_read_when_it_runs_and_once_more_for_its_gradients(untied):
    model, inputs = whole_inputs(untied)
    weights = {name: model.tensor(name).requires_grad_() for name in model.matrices}
    read = []

    class Noted(dict):
        def __getitem__(self, name):
            read.append(name)
            return super().__getitem__(name)

    loss = inputs.loss(inputs.forward(0, Noted(weights)), inputs.target(0).flip(-1))
    assert sorted(read) == sorted(weights)
    layers = [name for name in weights if ".layers." in name]
    read.clear()
    loss.backward()
    assert sorted(read) == sorted(layers)
    assert read[0].startswith("model.layers.1.")
    with torch.enable_grad():
        exact = torch.func.functional_call(model.torch_module(), weights, TOKENS[:2]).logits
        naive = torch.autograd.grad(inputs.loss(exact, inputs.target(0).flip(-1)), list(weights.values()))
    torch.testing.assert_close([weight.grad for weight in weights.values()], list(naive), rtol=1e-4, atol=1e-7)


def test_gradients_reach_the_weights(untied):
    model, inputs = whole_inputs(untied)
    name = "model.layers.0.mlp.up_proj.weight"
    weight = (model.tensor(name) * 1.1).requires_grad_()
    parameters = {matrix: model.tensor(matrix) for matrix in model.matrices} | {name: weight}
    inputs.loss(inputs.forward(0, parameters), inputs.target(0)).backward()
    assert weight.grad.abs().sum() > 0
    assert list(inputs.training_steps(3)) == [0, 1, 2]


@torch.inference_mode()
def in_inference_mode():
    return TOKENS.clone()


def test_gradients_reach_an_embedding_for_text_that_was_made_in_inference_mode(untied):
    model, inputs = whole_inputs(untied, in_inference_mode())
    weights = {name: model.tensor(name).requires_grad_() for name in model.matrices}
    inputs.loss(inputs.forward(0, weights), inputs.target(0).flip(-1)).backward()
    assert weights["model.embed_tokens.weight"].grad.abs().sum() > 0
