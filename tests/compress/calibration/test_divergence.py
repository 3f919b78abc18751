"""Divergences of many variations in one walk, against models with the very weights."""

import pytest
import torch
from torch.func import functional_call

from compress.calibration.divergence import divergences
from compress.calibration.predictions import model_arguments, prediction, prediction_loss
from compress.checkpoint.model import Model
from compress.progress import Silent
from tests.support.tensors import token_ids

TOKENS = token_ids(3, 12)


def naive(model, module, changed):
    """The loss of the whole model with other matrices in place of those of ``module``, the mean over windows."""
    architecture, losses = model.architecture, []
    state = {name: architecture.to_out_in(name, tensor) for name, tensor in changed.items()}
    for window in TOKENS.split(1):
        arguments = model_arguments(architecture, window)
        outputs = [functional_call(module, state, kwargs=arguments), module(**arguments)]
        losses.append(float(prediction_loss(architecture, *(prediction(architecture, output) for output in outputs))))
    return sum(losses) / len(losses)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("LlamaForCausalLM", {"tie_word_embeddings": True}),
        ("GPT2LMHeadModel", {}),
        ("BertModel", {}),
        ("T5ForConditionalGeneration", {}),
    ],
)
def test_every_variation_is_the_model_with_its_matrices(tiny, exact_products, name, options):
    """Of single matrices of every layer, and of one that changes all of them."""
    model = Model.open(str(tiny(name, **options)))
    generator = torch.Generator().manual_seed(0)
    changed = {}

    def changes(block, inputs):
        noisy = {
            name: weight.tensor + 0.2 * weight.tensor.std() * torch.randn(weight.shape, generator=generator)
            for name, weight in block.weights.items()
        }
        *_, last = noisy
        changed.setdefault("all", {}).update(noisy)
        changed[last] = {last: noisy[last]}
        return {"all": noisy, last: changed[last]}

    actual = divergences(model, TOKENS, TOKENS, changes, Silent())
    assert actual.keys() == changed.keys()
    module = model.torch_module()
    with torch.no_grad():
        for key, matrices in changed.items():
            assert actual[key] == pytest.approx(naive(model, module, matrices), rel=1e-3, abs=1e-7)
            assert actual[key] > 0


def test_no_variation_costs_nothing_but_the_walk(llama):
    assert divergences(Model.open(str(llama)), TOKENS, TOKENS, lambda block, inputs: {}, Silent()) == {}
