"""Statistics against a direct computation with hooks on the whole model."""

import pytest
import torch

from compress.contract import Statistic
from compress.errors import PassError
from compress.model import Model
from compress.progress import Silent
from compress.walk import walk_blocks
from compress.weight import Dense

TOKENS = torch.randint(3, 300, (6, 20), generator=torch.Generator().manual_seed(1))


def direct(module, tokens=TOKENS):
    """Every linear's inputs over all tokens, ``[tokens, features]``."""
    inputs = {}

    def keep(name, x):
        inputs[f"{name}.weight"] = x[0].flatten(0, -2)

    hooks = [
        linear.register_forward_pre_hook(lambda _, x, name=name: keep(name, x))
        for name, linear in module.named_modules()
        if isinstance(linear, torch.nn.Linear)
    ]
    with torch.no_grad():
        module(input_ids=tokens, attention_mask=torch.ones_like(tokens))
    for hook in hooks:
        hook.remove()
    return inputs


def walk(model, tokens=TOKENS, level=Statistic.GRAM):
    for block, observe in walk_blocks(model, tokens, Silent()):
        yield block, observe(level)


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "Qwen3ForCausalLM", "BertModel"])
def test_statistics_equal_a_direct_computation(tiny, name):
    model = Model.open(str(tiny(name)))
    inputs = direct(model.torch_module())
    seen = 0
    for block, stats in walk(model):
        assert set(stats) == (set(block.weights) if block.role == "layer" else set())
        for weight, entry in stats.items():
            x = inputs[weight]
            seen += 1
            assert entry.tokens == len(x)
            assert torch.allclose(entry.amax, x.abs().amax(0), atol=1e-5)
            assert torch.allclose(entry.square, x.square().mean(0), atol=1e-5)
            assert torch.allclose(entry.gram, x.T @ x / len(x), atol=1e-4)
    assert seen == len([n for n in inputs if ".layers." in n or ".layer." in n])


def test_linears_that_read_the_same_tensor_share_their_statistics(llama):
    for block, stats in walk(Model.open(str(llama))):
        if block.role == "layer":
            q, k, v, gate, up, down = (
                stats[f"{block.name}.{part}.weight"]
                for part in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj",
                             "mlp.down_proj")
            )  # fmt: skip
            assert q is k is v
            assert gate is up
            assert down is not up


def test_a_block_sees_the_compressed_prefix(llama):
    model = Model.open(str(llama))
    module = model.torch_module()
    with torch.no_grad():
        for linear in module.model.layers[0].modules():
            if isinstance(linear, torch.nn.Linear):
                linear.weight.mul_(0.5)
    inputs = direct(module)
    for block, stats in walk(model, level=Statistic.SQUARE):
        if block.name == "model.layers.0":
            block.weights.update({name: Dense(w.dequantize() * 0.5) for name, w in block.weights.items()})
        elif block.role == "layer":
            for weight, entry in stats.items():
                assert torch.allclose(entry.square, inputs[weight].square().mean(0), atol=1e-5)


def test_a_second_pass_sees_what_the_first_left(llama):
    model = Model.open(str(llama))
    for block, observe in walk_blocks(model, TOKENS, Silent()):
        if block.role == "layer":
            name = f"{block.name}.mlp.down_proj.weight"
            before = observe(Statistic.AMAX)[name].amax
            up = f"{block.name}.mlp.up_proj.weight"
            block.weights[up] = Dense(block.weights[up].dequantize() * 2)
            assert torch.allclose(observe(Statistic.AMAX)[name].amax, before * 2, rtol=1e-4)


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
    model = Model.open(str(llama))
    with pytest.raises(PassError, match="NaN or infinite activations"):
        for block, _ in walk(model):
            if block.role == "layer":
                name = next(iter(block.weights))
                block.weights[name] = Dense(block.weights[name].dequantize() * float("inf"))
