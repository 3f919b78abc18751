import pytest
import torch

from compress.calibration.statistics import LinearInput, Statistic
from compress.calibration.walk import walk_blocks
from compress.checkpoint.model import Model
from compress.passes.int4 import Int4
from compress.passes.solvers.awq import ALPHAS, AwqSearch
from compress.passes.solvers.grid import Grid
from compress.passes.solvers.rounding import round_to_nearest
from compress.passes.solvers.smoothing import smooth
from compress.progress import Silent
from tests.support.tensors import token_ids

pytestmark = pytest.mark.usefixtures("exact_products")
TOKENS = token_ids(6, 24)
SEARCH = AwqSearch(lambda features: Grid(4, 32))


def spiky(path, out):
    """A model whose inputs have a few channels far larger than the rest."""
    module = Model.open(str(path)).torch_module()
    for layer in module.model.layers:
        layer.input_layernorm.weight.data[[3, 40]] *= 10
        layer.post_attention_layernorm.weight.data[[5, 50]] *= 10
    module.save_pretrained(out)
    return module


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "Qwen2ForCausalLM", "BertModel"])
def test_folding_leaves_the_function_as_it_is(tiny, name, tmp_path):
    path = tiny(name)
    module = Model.open(str(path)).torch_module() if name == "BertModel" else spiky(path, tmp_path)
    model = Model.open(str(path if name == "BertModel" else tmp_path))
    moved = 0
    with torch.no_grad():
        before = module(TOKENS)[0]
        for block, inputs in walk_blocks(model, TOKENS, Silent()):
            if block.role == "layer":
                old = dict(block.weights)
                smooth(block, inputs, SEARCH)
                moved += sum(not torch.equal(old[n].tensor, w.tensor) for n, w in block.weights.items())
                state = {n: w.dequantize() for n, w in block.weights.items()} | block.vectors
                module.load_state_dict(state, strict=False)
        after = module(TOKENS)[0]
    assert moved >= (2 if name == "BertModel" else 10)
    assert (after - before).norm() < 1e-5 * before.norm()


def test_no_fold_makes_its_consumers_error_larger(llama, tmp_path):
    """The error after rounding of what reads the scaled inputs, on statistics that are taken anew."""
    spiky(llama, tmp_path)
    for block, inputs in walk_blocks(Model.open(str(tmp_path)), TOKENS, Silent()):
        if block.role != "layer":
            continue
        for fold in block.folds:

            def error(fold=fold, inputs=inputs, block=block):
                statistics = inputs.statistics(Statistic.GRAM, fold.consumers)
                matrices = {name: block.weights[name].dequantize() for name in fold.consumers}
                return sum(SEARCH.error(w, statistics[name], torch.ones(w.shape[1])) for name, w in matrices.items())

            before, all_folds = error(), block.folds
            block.folds = (fold,)
            smooth(block, inputs, SEARCH)
            block.folds = all_folds
            assert error() <= before * 1.0001
            if fold.source.endswith("layernorm.weight"):
                assert error() < before * 0.9


def test_the_error_is_that_of_the_outputs_with_scaled_columns_rounded():
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(500, 64, generator=generator), torch.randn(8, 64, generator=generator)
    scale = torch.rand(64, generator=generator) + 0.5
    statistics = LinearInput(Statistic.GRAM, 500, x.abs().amax(0), x.square().mean(0), x.T @ x / 500, sample=x[:128])
    rounded = round_to_nearest(weight * scale, Grid(4, 32)).quantized().dequantize()
    exact = x @ weight.T
    expected = ((x / scale) @ rounded.T - exact).square().sum() / exact.square().sum()
    assert SEARCH.error(weight, statistics, scale) == pytest.approx(float(expected), rel=1e-3)


def test_candidates_are_powers_of_the_inputs_activity():
    statistics = LinearInput(Statistic.GRAM, 1, square=torch.tensor([4.0, 0.0]))
    candidates = SEARCH.candidates(statistics, [])
    assert len(candidates) == len(ALPHAS) == 10
    assert torch.allclose(candidates[4], torch.tensor([2.0, 1e-5]) ** 0.5)
    assert torch.allclose(candidates[-1], torch.tensor([2.0, 1e-5]))


def test_the_pass_gains_by_it_where_channels_differ(llama, tmp_path):
    """Rounded alone; what follows is a solver's business."""
    module = spiky(llama, tmp_path)
    with torch.no_grad():
        exact = module(TOKENS).logits

    def error(smoothing):
        pass_ = Int4(solver="rtn", smooth=smoothing)
        changed = Model.open(str(tmp_path)).torch_module()
        for block, inputs in walk_blocks(Model.open(str(tmp_path)), TOKENS, Silent()):
            if block.role == "layer":
                pass_.run(block, inputs)
                state = {n: w.dequantize() for n, w in block.weights.items()} | block.vectors
                changed.load_state_dict(state, strict=False)
        with torch.no_grad():
            return float((changed(TOKENS).logits - exact).norm() / exact.norm())

    assert error("awq") < 0.9 * error("off")
