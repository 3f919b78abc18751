import pytest
import torch

from compress.calibration.precision import per_token
from compress.calibration.statistics import Statistic
from compress.calibration.walk import walk_blocks
from compress.checkpoint.model import Model
from compress.passes.int8 import with_dynamic_inputs
from compress.passes.lowrank import Lowrank
from compress.passes.solvers.smoothing import SmoothQuant, rounded_inputs_error, smooth
from compress.progress import Silent
from tests.support.tensors import random_scale, token_ids

pytestmark = pytest.mark.usefixtures("exact_products")
TOKENS = token_ids(4, 24)


def spiky(path):
    """A model whose inputs have a few channels far larger than the rest."""
    module = Model.open(str(path)).torch_module()
    for layer in module.model.layers:
        layer.input_layernorm.weight.data[3] *= 30
        layer.post_attention_layernorm.weight.data[5] *= 30
    return module


@pytest.mark.parametrize("pivot", ["on", "off"])
def test_folding_leaves_products_as_they_are(llama, monkeypatch, pivot):
    monkeypatch.setattr("compress.passes.solvers.smoothing._best_scale", lambda block, fold, *_: random_scale(fold))
    walk = walk_blocks(Model.open(str(llama)), TOKENS, Silent(), originals=True)
    block, inputs = next((block, inputs) for block, inputs in walk if block.role == "layer")
    Lowrank(rank=0.4, pivot=pivot).run(block, inputs)
    old = dict(block.weights)
    inputs.refresh()
    exact = inputs.forward(0, {})
    smooth(block, inputs, SmoothQuant(with_dynamic_inputs))
    assert all(type(weight) is type(old[name]) for name, weight in block.weights.items())
    assert any(not torch.equal(old[name].dequantize(), w.dequantize()) for name, w in block.weights.items())
    inputs.refresh()
    assert torch.allclose(inputs.forward(0, {}), exact, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "Qwen2ForCausalLM"])
def test_folding_leaves_the_function_as_it_is(tiny, name, tmp_path, monkeypatch):
    module = Model.open(str(tiny(name, tie_word_embeddings=False))).torch_module()
    for parameter in module.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)  # biases start as zeros
    module.save_pretrained(tmp_path)
    model = Model.open(str(tmp_path))
    monkeypatch.setattr("compress.passes.solvers.smoothing._best_scale", lambda block, fold, *_: random_scale(fold))
    with torch.no_grad():
        before = module(TOKENS).logits
        for block, inputs in walk_blocks(model, TOKENS, Silent(), originals=True):
            if block.role == "layer":
                assert len(block.folds) == 4
                old = {name: weight.dequantize() for name, weight in block.weights.items()}
                inputs.refresh()
                target = inputs.target(0)
                smooth(block, inputs, SmoothQuant(with_dynamic_inputs))
                assert any(not torch.equal(old[n], w.dequantize()) for n, w in block.weights.items())
                state = {n: w.dequantize() for n, w in block.weights.items()} | block.vectors
                module.load_state_dict(state, strict=False)
                # The original moves along, so that channel by channel the two can still be compared.
                inputs.refresh()
                assert torch.allclose(inputs.target(0), target, atol=1e-4, rtol=1e-4)
                assert all(torch.equal(inputs.original.weights[n].tensor, w.tensor) for n, w in block.weights.items())
        assert torch.allclose(module(TOKENS).logits, before, atol=1e-4, rtol=1e-4)


def test_post_norm_encoders_fold_only_values(bert):
    model = Model.open(str(bert))
    layers = [block for block, _ in walk_blocks(model, None, Silent()) if block.role == "layer"]
    assert [fold.source.rpartition("attention.")[2] for fold in layers[0].folds] == ["self.value.weight"]


def test_smoothing_never_makes_the_searched_error_larger(llama, tmp_path):
    module = spiky(llama)
    module.save_pretrained(tmp_path)
    for block, inputs in walk_blocks(Model.open(str(tmp_path)), TOKENS, Silent()):
        if block.role != "layer":
            continue

        def error(weights, stats):
            outputs = {n: stats[n].sample @ w.dequantize().T for n, w in weights.items()}
            stored = {n: with_dynamic_inputs(w.dequantize()) for n, w in weights.items()}
            return sum(rounded_inputs_error(outputs[n], stored[n], stats[n].sample) for n in weights)

        before = error(block.weights, inputs.statistics(Statistic.AMAX))
        smooth(block, inputs, SmoothQuant(with_dynamic_inputs))
        after = error(block.weights, inputs.statistics(Statistic.AMAX))
        assert after < before * 0.7


def test_per_token_rounding_has_255_steps():
    x = torch.randn(5, 64)
    rounded = per_token(x)
    step = x.abs().amax(-1, keepdim=True) / 127
    assert ((rounded - x).abs() <= step / 2 + 1e-6).all()
    assert torch.allclose(rounded / step, (rounded / step).round(), atol=1e-3)
