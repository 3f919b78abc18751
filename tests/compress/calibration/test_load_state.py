"""A block's tensors get into a layer, whatever their shapes and however it stores them."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaForCausalLM

from compress.calibration.block import Block
from compress.calibration.load_state import load_block, materialize, to_layer_names
from compress.modeling.transformers_private import on_meta
from compress.weights.forms import Dense
from tests.support.checkpoints import build


def test_a_narrower_matrix_shapes_its_linear():
    layer = build("LlamaForCausalLM").model.layers[0]
    state = {f"l.{name}": tensor.half() for name, tensor in layer.state_dict().items()}
    state["l.mlp.up_proj.weight"] = torch.ones(40, 32).half()
    state["l.input_layernorm.weight"] = torch.full((32,), 3.0).half()
    weights = {name: Dense(tensor) for name, tensor in state.items() if tensor.ndim == 2}
    load_block(layer, Block("l", "layer", weights, {name: t for name, t in state.items() if t.ndim == 1}))
    assert layer.mlp.up_proj.weight.shape == (40, 32)
    assert torch.equal(layer.mlp.up_proj(torch.ones(1, 32)), torch.full((1, 40), 32.0))
    assert layer.input_layernorm.weight.dtype == torch.float32
    assert layer.input_layernorm.weight[0] == 3
    assert not any(parameter.requires_grad for parameter in layer.parameters())


def test_matrices_of_gpt2_lie_the_other_way_round():
    layer = GPT2LMHeadModel(GPT2Config(vocab_size=96, n_embd=32, n_layer=1, n_head=4)).transformer.h[0]
    narrow = torch.randn(48, 32)
    block = Block("h.0", "layer", {"h.0.mlp.c_fc.weight": Dense(narrow)}, {})
    assert torch.equal(to_layer_names(layer, block, {"h.0.mlp.c_fc.weight": narrow})["mlp.c_fc.weight"], narrow.T)
    state = {f"h.0.{name}": tensor for name, tensor in layer.state_dict().items()}
    block.vectors.update({name: t for name, t in state.items() if t.ndim == 1} | {"h.0.mlp.c_fc.bias": torch.zeros(48)})
    block.weights.update({n: Dense(t.T) for n, t in state.items() if t.ndim == 2 and n not in block.weights})
    load_block(layer, block)
    x = torch.randn(3, 32)
    assert torch.allclose(layer.mlp.c_fc(x), x @ narrow.T, atol=1e-5)


def test_a_module_computes_its_own_buffers_off_meta():
    source = build("LlamaForCausalLM")
    with on_meta():
        module = LlamaForCausalLM(source.config)
    materialize(module, {"model.norm.weight": torch.full((32,), 2.0)})
    assert torch.equal(module.model.rotary_emb.inv_freq, source.model.rotary_emb.inv_freq)
    assert module.model.norm.weight[0] == 2
    assert module.model.layers[0].mlp.up_proj.weight.is_meta
