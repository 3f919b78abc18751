"""Statistics of a layer's inputs against a direct computation; the layer as a function of its weights."""

import pytest
import torch

from compress.calibration.statistics import Statistic
from compress.calibration.walk import walk_blocks
from compress.checkpoint.model import Model
from compress.progress import Silent
from compress.weights.forms import Dense
from tests.support.calibration import RESIDUAL, TOKENS, direct, importance, layers_of

pytestmark = pytest.mark.usefixtures("exact_products")

FAMILIES = ["LlamaForCausalLM", "Qwen3ForCausalLM", "BertModel", "DistilBertModel"]


@pytest.mark.parametrize("name", FAMILIES)
def test_statistics_equal_a_direct_computation(tiny, name):
    model = Model.open(str(tiny(name)))
    inputs_by_name = direct(model.torch_module())
    count = 0
    for block, inputs in layers_of(model):
        stats = inputs.statistics(Statistic.GRAM)
        assert set(stats) == set(block.weights)
        for weight, entry in stats.items():
            x = inputs_by_name[weight]
            w = importance(inputs_by_name[block.name])[:, None] if weight.endswith(RESIDUAL) else torch.ones(len(x), 1)
            assert entry.tokens == len(x) == 120
            assert torch.allclose(entry.amax, x.abs().amax(0), atol=1e-5)
            assert torch.allclose(entry.square, (w * x * x).mean(0), atol=1e-5, rtol=1e-4)
            assert torch.allclose(entry.gram, (w * x).T @ x / len(x), atol=1e-4)
            count += 1
    assert count == len([n for n in inputs_by_name if n.endswith("weight") and (".layers." in n or ".layer." in n)])


def test_the_cheaper_levels_hold_nothing_more(llama):
    inputs_by_name = direct(Model.open(str(llama)).torch_module())
    for block, inputs in layers_of(Model.open(str(llama))):
        assert inputs.statistics(Statistic.NONE) == {}
        for weight, entry in inputs.statistics(Statistic.AMAX).items():
            assert torch.allclose(entry.amax, inputs_by_name[weight].abs().amax(0), atol=1e-5)
            assert entry.square.numel() == entry.gram.numel() == entry.mismatch.numel() == 0
            assert entry.sample.shape == (3 * 40, block.weights[weight].shape[1])
        for weight, entry in inputs.statistics(Statistic.SQUARE).items():
            assert torch.allclose(entry.square, inputs_by_name[weight].square().mean(0), atol=1e-5)
            assert entry.gram.numel() == 0


def test_only_what_writes_the_residual_weighs_its_tokens(llama, tmp_path):
    """One token a hundred times larger than the others, as sink tokens are, must not fill the Gram."""
    module = Model.open(str(llama)).torch_module()
    module.model.embed_tokens.weight.data[TOKENS[0, 0]] *= 100
    module.save_pretrained(tmp_path)
    inputs_by_name = direct(module)
    sizes = inputs_by_name["model.layers.0"].square().mean(-1)
    weights = importance(inputs_by_name["model.layers.0"])
    assert weights.max() == 1
    assert weights[sizes.argmax()] < 0.05
    assert (weights == 1).float().mean() >= 0.5
    _, inputs = next(layers_of(Model.open(str(tmp_path))))
    for weight, entry in inputs.statistics(Statistic.GRAM).items():
        x = inputs_by_name[weight]
        plain, weighted = x.T @ x / len(x), (weights[:, None] * x).T @ x / len(x)
        expected = weighted if weight.endswith(("o_proj.weight", "down_proj.weight")) else plain
        assert torch.allclose(entry.gram, expected, rtol=1e-3, atol=1e-4)
        assert not torch.allclose(plain, weighted, rtol=1e-2, atol=1e-2)


def test_mismatch_compares_an_altered_model_with_the_original(llama):
    """Altered: the embedding, all of the first layer, and the second's values, which its o_proj and MLP are behind."""
    model = Model.open(str(llama))
    before, module = direct(model.torch_module()), model.torch_module()
    last = "model.layers.1.self_attn.v_proj.weight"

    def alter(tensor):
        return tensor + 0.05 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(len(tensor)))

    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim == 2 and ("embed" in name or ".layers.0." in name or name == last):
                parameter.copy_(alter(parameter))
    after = direct(module)

    for block, inputs in walk_blocks(model, TOKENS, Silent(), originals=True):
        if block.role != "layer" or block.name.endswith(".0"):
            block.weights |= {name: Dense(alter(weight.dequantize())) for name, weight in block.weights.items()}
            continue
        stages = inputs.stages()
        stats = dict(inputs.statistics(Statistic.MISMATCH, stages[0]))
        block.weights[last] = Dense(alter(block.weights[last].dequantize()))
        for stage in stages[1:]:
            stats |= inputs.statistics(Statistic.MISMATCH, stage)
        assert set(stats) == set(block.weights)
        for weight, entry in stats.items():
            x, y = after[weight], before[weight]
            w = importance(before[block.name])[:, None] if weight.endswith(RESIDUAL) else torch.ones(len(x), 1)
            gap = (y - x).T @ (w * x) / len(x)
            assert torch.allclose(entry.amax, x.abs().amax(0), atol=1e-4)
            assert torch.allclose(entry.gram, (w * x).T @ x / len(x), rtol=1e-3, atol=1e-4)
            assert torch.allclose(entry.mismatch, gap, rtol=1e-3, atol=1e-4)
            assert entry.mismatch.abs().max() > 1e-2


@pytest.mark.parametrize("name", FAMILIES)
def test_an_early_stop_changes_nothing(tiny, name):
    for block, inputs in layers_of(Model.open(str(tiny(name))), originals=True):
        full = inputs.statistics(Statistic.MISMATCH)
        for stage in inputs.stages():
            part = inputs.statistics(Statistic.MISMATCH, stage)
            assert set(part) == set(stage)
            for weight in stage:
                for field in ("tokens", "amax", "square", "gram", "mismatch", "sample"):
                    first, other = getattr(part[weight], field), getattr(full[weight], field)
                    assert torch.equal(torch.as_tensor(first), torch.as_tensor(other)), (block.name, weight, field)


def test_nothing_is_run_behind_the_last_linear_that_is_asked_for(llama):
    _, inputs = next(layers_of(Model.open(str(llama))))
    calls = []
    inputs.layer.mlp.register_forward_pre_hook(lambda *_: calls.append("mlp"))
    inputs.layer.self_attn.o_proj.register_forward_hook(lambda *_: calls.append("o_proj"))
    first, second, *_ = inputs.stages()
    calls.clear()
    inputs.statistics(Statistic.GRAM, first)
    inputs.statistics(Statistic.AMAX, second)
    assert calls == []


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("LlamaForCausalLM", ["q_proj k_proj v_proj", "o_proj", "gate_proj up_proj", "down_proj"]),
        ("Qwen3ForCausalLM", ["q_proj k_proj v_proj", "o_proj", "gate_proj up_proj", "down_proj"]),
        ("BertModel", ["query key value", "attention.output.dense", "intermediate.dense", "output.dense"]),
        ("DistilBertModel", ["q_lin k_lin v_lin", "out_lin", "lin1", "lin2"]),
    ],
)
def test_stages_follow_the_forward_pass(tiny, name, stages):
    for _, inputs in layers_of(Model.open(str(tiny(name)))):
        actual = inputs.stages()
        assert [len(stage) for stage in actual] == [len(names.split()) for names in stages]
        for stage, names in zip(actual, stages, strict=True):
            for weight, part in zip(sorted(stage), sorted(names.split()), strict=True):
                assert weight.endswith(f".{part}.weight")


def test_linears_that_read_the_same_tensor_share_their_statistics(llama):
    for block, inputs in layers_of(Model.open(str(llama))):
        stats = inputs.statistics(Statistic.GRAM)
        q, k, v, gate, up, down = (
            stats[f"{block.name}.{part}.weight"]
            for part in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj",
                         "mlp.down_proj")
        )  # fmt: skip
        assert q is k is v
        assert gate is up
        assert down is not up


def test_a_second_pass_sees_what_the_first_left(llama):
    for block, inputs in layers_of(Model.open(str(llama))):
        name = f"{block.name}.mlp.down_proj.weight"
        before = inputs.statistics(Statistic.AMAX)[name].amax
        up = f"{block.name}.mlp.up_proj.weight"
        block.weights[up] = Dense(block.weights[up].dequantize() * 2)
        assert torch.allclose(inputs.statistics(Statistic.AMAX, [name])[name].amax, before * 2, rtol=1e-4)


def test_a_layer_runs_as_a_function_of_its_weights(llama):
    for block, inputs in layers_of(Model.open(str(llama))):
        name = f"{block.name}.mlp.down_proj.weight"
        inputs.refresh()
        full = inputs.forward(0, {})
        down = block.weights[name].dequantize().clone().requires_grad_()
        halved = inputs.forward(0, {name: down * 0.5})
        without = inputs.forward(0, {name: down * 0})
        assert torch.allclose(2 * halved, full + without, atol=1e-4)  # linear in what writes the residual
        halved.sum().backward()
        assert down.grad is not None
        assert torch.equal(inputs.forward(0, {}), full)
