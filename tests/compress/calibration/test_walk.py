"""Statistics against a direct computation with hooks on the whole model."""

import pytest
import torch

from compress.calibration.precision import native_bfloat16
from compress.calibration.statistics import Statistic
from compress.calibration.walk import walk_blocks
from compress.checkpoint.model import Model
from compress.errors import PassError
from compress.modeling.modules import layer_list
from compress.progress import Silent
from compress.weights.forms import Dense
from tests.support.tensors import token_ids

TOKENS = token_ids(6, 20)
FAMILIES = ["LlamaForCausalLM", "Qwen3ForCausalLM", "BertModel", "DistilBertModel"]
RESIDUAL = ("o_proj.weight", "down_proj.weight", "output.dense.weight", "out_lin.weight", "lin2.weight")
"""The linears whose outputs are added to the hidden states."""
NATIVE = native_bfloat16


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """Products in float32 throughout, whatever the processor could do faster."""
    monkeypatch.setattr("compress.calibration.precision.native_bfloat16", lambda: False)


def direct(module, tokens=TOKENS):
    """Every linear's inputs and every layer's outputs over all tokens, ``[tokens, features]``."""
    seen = {}

    def read(name):
        return lambda _, x: seen.update({f"{name}.weight": x[0].flatten(0, -2)})

    def written(name):
        return lambda _, x, y: seen.update({name: (y[0] if isinstance(y, tuple) else y).flatten(0, -2)})

    path, layers = layer_list(module)
    hooks = [layer.register_forward_hook(written(f"{path}.{i}")) for i, layer in enumerate(layers)]
    hooks += [
        linear.register_forward_pre_hook(read(name))
        for name, linear in module.named_modules()
        if isinstance(linear, torch.nn.Linear)
    ]
    with torch.no_grad():
        module(input_ids=tokens, attention_mask=torch.ones_like(tokens))
    for hook in hooks:
        hook.remove()
    return seen


def importance(outputs):
    """What a token counts that is added to a hidden state: the inverse of that one's squared size, up to the median of
    the two windows that go through together."""
    sizes = outputs.square().mean(-1).split(2 * TOKENS.shape[1])
    return torch.cat([(size.median() / size).clamp(max=1) for size in sizes])


def layers_of(model, **options):
    return ((b, inputs) for b, inputs in walk_blocks(model, TOKENS, Silent(), **options) if b.role == "layer")


@pytest.mark.parametrize("name", FAMILIES)
def test_statistics_equal_a_direct_computation(tiny, name):
    model = Model.open(str(tiny(name)))
    seen = direct(model.torch_module())
    count = 0
    for block, inputs in layers_of(model):
        stats = inputs.statistics(Statistic.GRAM)
        assert set(stats) == set(block.weights)
        for weight, entry in stats.items():
            x = seen[weight]
            w = importance(seen[block.name])[:, None] if weight.endswith(RESIDUAL) else torch.ones(len(x), 1)
            assert entry.tokens == len(x) == 120
            assert torch.allclose(entry.amax, x.abs().amax(0), atol=1e-5)
            assert torch.allclose(entry.square, (w * x * x).mean(0), atol=1e-5, rtol=1e-4)
            assert torch.allclose(entry.gram, (w * x).T @ x / len(x), atol=1e-4)
            count += 1
    assert count == len([n for n in seen if n.endswith("weight") and (".layers." in n or ".layer." in n)])


def test_the_cheaper_levels_hold_nothing_more(llama):
    seen = direct(Model.open(str(llama)).torch_module())
    for block, inputs in layers_of(Model.open(str(llama))):
        assert inputs.statistics(Statistic.NONE) == {}
        for weight, entry in inputs.statistics(Statistic.AMAX).items():
            assert torch.allclose(entry.amax, seen[weight].abs().amax(0), atol=1e-5)
            assert entry.square.numel() == entry.gram.numel() == entry.mismatch.numel() == 0
            assert entry.sample.shape == (3 * 40, block.weights[weight].shape[1])
        for weight, entry in inputs.statistics(Statistic.SQUARE).items():
            assert torch.allclose(entry.square, seen[weight].square().mean(0), atol=1e-5)
            assert entry.gram.numel() == 0


def test_only_what_writes_the_residual_weighs_its_tokens(llama, tmp_path):
    """One token a hundred times larger than the others, as sink tokens are, must not fill the Gram."""
    module = Model.open(str(llama)).torch_module()
    module.model.embed_tokens.weight.data[TOKENS[0, 0]] *= 100
    module.save_pretrained(tmp_path)
    seen = direct(module)
    sizes = seen["model.layers.0"].square().mean(-1)
    weights = importance(seen["model.layers.0"])
    assert weights.max() == 1
    assert weights[sizes.argmax()] < 0.05
    assert (weights == 1).float().mean() >= 0.5
    _, inputs = next(layers_of(Model.open(str(tmp_path))))
    for weight, entry in inputs.statistics(Statistic.GRAM).items():
        x = seen[weight]
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


def test_the_original_rides_along_unaltered(llama):
    model = Model.open(str(llama))
    before = direct(model.torch_module())
    for block, inputs in layers_of(model, originals=True):
        inputs.refresh()
        batches = before[block.name].split(2 * TOKENS.shape[1])
        for i in range(inputs.batches):
            assert torch.allclose(inputs.target(i).flatten(0, 1), batches[i], atol=1e-4)
        exact = dict(block.weights)
        block.weights |= {name: Dense(weight.dequantize() * 0.5) for name, weight in exact.items()}
        block.vectors |= {name: vector * 2 for name, vector in block.vectors.items()}
        inputs.refresh()
        assert torch.allclose(inputs.target(0).flatten(0, 1), before[block.name][: 2 * TOKENS.shape[1]], atol=1e-4)
        assert not torch.allclose(inputs.forward(0, {}), inputs.target(0), atol=0.1)
        assert inputs.original.weights == exact


@pytest.mark.parametrize("name", FAMILIES)
def test_an_early_stop_changes_nothing(tiny, name):
    for block, inputs in layers_of(Model.open(str(tiny(name))), originals=True):
        whole = inputs.statistics(Statistic.MISMATCH)
        for stage in inputs.stages():
            part = inputs.statistics(Statistic.MISMATCH, stage)
            assert set(part) == set(stage)
            for weight in stage:
                for what in ("tokens", "amax", "square", "gram", "mismatch", "sample"):
                    one, other = getattr(part[weight], what), getattr(whole[weight], what)
                    assert torch.equal(torch.as_tensor(one), torch.as_tensor(other)), (block.name, weight, what)


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
        found = inputs.stages()
        assert [len(stage) for stage in found] == [len(names.split()) for names in stages]
        for stage, names in zip(found, stages, strict=True):
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


def test_fast_products_agree_to_about_two_percent(llama, monkeypatch):
    monkeypatch.setattr("compress.calibration.precision.native_bfloat16", NATIVE)
    seen = direct(Model.open(str(llama)).torch_module())
    for block, inputs in layers_of(Model.open(str(llama))):
        for weight, entry in inputs.statistics(Statistic.GRAM).items():
            x = seen[weight]
            w = importance(seen[block.name])[:, None] if weight.endswith(RESIDUAL) else 1
            exact = (w * x).T @ x / len(x)
            assert (entry.gram - exact).norm() < 0.025 * exact.norm()


def test_a_block_sees_the_compressed_prefix(llama):
    model = Model.open(str(llama))
    module = model.torch_module()
    with torch.no_grad():
        for linear in module.model.layers[0].modules():
            if isinstance(linear, torch.nn.Linear):
                linear.weight.mul_(0.5)
    seen = direct(module)
    for block, inputs in layers_of(model):
        if block.name == "model.layers.0":
            block.weights.update({name: Dense(w.dequantize() * 0.5) for name, w in block.weights.items()})
        for weight, entry in inputs.statistics(Statistic.SQUARE).items():
            assert torch.allclose(entry.square, seen[weight].square().mean(0), atol=1e-5)


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
        whole = inputs.forward(0, {})
        down = block.weights[name].dequantize().clone().requires_grad_()
        halved = inputs.forward(0, {name: down * 0.5})
        without = inputs.forward(0, {name: down * 0})
        assert torch.allclose(2 * halved, whole + without, atol=1e-4)  # linear in what writes the residual
        halved.sum().backward()
        assert down.grad is not None
        assert torch.equal(inputs.forward(0, {}), whole)


def test_without_text_nothing_is_known(llama):
    for _, inputs in walk_blocks(Model.open(str(llama)), None, Silent()):
        assert (inputs.batches, inputs.original, inputs.stages()) == (0, None, [])
        assert inputs.statistics(Statistic.MISMATCH) == {}


def test_the_parts_cover_every_tensor_once(tiny):
    for name, tie, roles in [
        ("LlamaForCausalLM", True, ["tied", "layer", "layer", "rest"]),
        ("LlamaForCausalLM", False, ["embedding", "layer", "layer", "head", "rest"]),
        ("BertModel", False, ["embedding", "layer", "layer", "rest"]),
    ]:
        model = Model.open(str(tiny(name, tie_word_embeddings=tie)))
        blocks = [block for block, _ in walk_blocks(model, None, Silent())]
        assert [block.role for block in blocks] == roles
        names = [n for block in blocks for n in (*block.weights, *block.vectors)]
        assert sorted(names) == sorted(model.names)


def test_nan_activations_are_refused(llama):
    with pytest.raises(PassError, match="NaN or infinite activations"):
        for block, inputs in layers_of(Model.open(str(llama))):
            inputs.statistics(Statistic.AMAX)
            name = next(iter(block.weights))
            block.weights[name] = Dense(block.weights[name].dequantize() * float("inf"))
