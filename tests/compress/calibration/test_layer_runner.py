"""What is replayed of a layer against the same layer run from its start."""

import pytest
import torch

from compress.calibration.layer_runner import LayerRun, Spool
from compress.calibration.statistics import Statistic
from compress.calibration.walk import walk_blocks
from compress.checkpoint.model import Model
from compress.progress import Silent
from compress.weights.forms import Dense
from tests.support.tensors import token_ids

TOKENS = token_ids(4, 20)


def first_layer(path):
    walk = walk_blocks(Model.open(str(path)), TOKENS, Silent(), originals=True)
    return next((block, inputs) for block, inputs in walk if block.role == "layer")


def fresh(block, inputs):
    """The same layer, of which nothing is known yet."""
    return LayerRun(inputs.layer, block, inputs.arguments)


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "GPT2LMHeadModel", "BloomForCausalLM", "BertModel", "MPNetModel"])
def test_a_layer_whose_matrices_change_stage_by_stage_is_as_if_run_from_its_start(tiny, name):
    block, inputs = first_layer(tiny(name))
    run = fresh(block, inputs)
    for stage in run.stages():
        run.refresh()
        for batch in range(len(inputs.states)):
            states, _ = run.inputs(batch, stage)
            exact, _ = fresh(block, inputs).inputs(batch, stage)
            assert all(torch.equal(states[weight], exact[weight]) for weight in stage)
        for weight in stage:
            block.weights[weight] = Dense(block.weights[weight].dequantize() * 1.1)
    run.refresh()
    assert torch.equal(run.output(1), fresh(block, inputs).output(1))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("LlamaForCausalLM", {"self_attn.o_proj": "self_attn", "mlp.down_proj": "mlp"}),
        ("GPT2LMHeadModel", {"attn.c_proj": "attn", "mlp.c_proj": "mlp"}),
        ("BertModel", {}),  # its dense layers add the residual themselves
    ],
)
def test_parts_are_known_by_their_last_linear(tiny, name, parts):
    block, inputs = first_layer(tiny(name))
    run = fresh(block, inputs)
    run.stages()
    assert {k.removeprefix(f"{block.name}."): part.path for k, part in run._parts.items()} == {
        f"{linear}.weight": path for linear, path in parts.items()
    }


def test_attention_is_computed_once_for_each_change_of_what_it_reads(llama):
    block, inputs = first_layer(llama)
    calls = []
    inputs.layer.self_attn.v_proj.register_forward_hook(lambda *_: calls.append("v"))
    stages = inputs.stages()
    calls.clear()
    for stage in stages:
        inputs.statistics(Statistic.GRAM, stage)
        inputs.statistics(Statistic.GRAM, stage)
    assert calls == ["v"] * inputs.batches
    norm = f"{block.name}.input_layernorm.weight"
    block.vectors[norm] = block.vectors[norm] * 2
    inputs.statistics(Statistic.GRAM, stages[-1])
    assert calls == ["v"] * 2 * inputs.batches


def test_the_original_is_run_through_once(llama):
    _, inputs = first_layer(llama)
    calls = []
    inputs._reference.layer.self_attn.v_proj.register_forward_hook(lambda *_: calls.append("v"))
    for stage in inputs.stages():
        inputs.statistics(Statistic.MISMATCH, stage)
    inputs.advance()
    assert calls == ["v"] * (inputs.batches + 1)  # once more, to see what it is made of


def test_a_spool_gives_back_what_it_was_given():
    spool = Spool()
    spool.keep(("a", 0), torch.arange(6.0).reshape(2, 3))
    spool.keep(("b", 0), torch.full((3,), 2.5, dtype=torch.bfloat16))
    spool.keep(("a", 0), torch.arange(6.0, 12.0).reshape(2, 3))  # in its old place
    spool.keep(("b", 0), torch.ones(40))  # too large for its own
    assert spool.read(("a", 0)).tolist() == [[6, 7, 8], [9, 10, 11]]
    assert torch.equal(spool.read(("b", 0)), torch.ones(40))
    spool.close()
