"""Statistics of what the head reads, against a direct computation."""

import pytest
import torch

from compress.calibration.statistics import Statistic
from compress.calibration.walk import walk_blocks
from compress.checkpoint.model import Model
from compress.progress import Silent
from compress.weights.forms import Dense
from tests.support.calibration import TOKENS

pytestmark = pytest.mark.usefixtures("exact_products")


def read_by_head(module):
    """What a module's head reads of the text, ``[tokens, width]``."""
    read = []
    hook = module.lm_head.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].flatten(0, 1)))
    with torch.no_grad():
        module(input_ids=TOKENS)
    hook.remove()
    return read[0]


def halved(block):
    block.weights |= {name: Dense(weight.dequantize() * 0.5) for name, weight in block.weights.items()}


@pytest.mark.parametrize("family", ["llama", "untied"])
def test_the_head_reads_what_the_compressed_layers_deliver(request, family):
    model = Model.open(str(request.getfixturevalue(family)))
    module = model.torch_module()
    original = read_by_head(module)
    with torch.no_grad():
        module.model.embed_tokens.weight = torch.nn.Parameter(module.model.embed_tokens.weight * 0.5)
        for linear in module.model.layers.modules():
            if isinstance(linear, torch.nn.Linear):
                linear.weight.mul_(0.5)
    compressed = read_by_head(module)
    for block, inputs in walk_blocks(model, TOKENS, Silent(), originals=True):
        name = next(iter(block.weights), "")
        if inputs.stages() == [(name,)]:
            break
        halved(block)
    assert name == {"llama": "model.embed_tokens.weight", "untied": "lm_head.weight"}[family]
    assert inputs.batches == 3
    assert inputs.statistics(Statistic.NONE) == inputs.statistics(Statistic.MISMATCH, ["another"]) == {}
    gram = compressed.T @ compressed / len(compressed)
    for level in (Statistic.GRAM, Statistic.MISMATCH):
        entry = inputs.statistics(level)[name]
        assert entry.tokens == len(compressed) == 120
        assert torch.allclose(entry.amax, compressed.abs().amax(0), atol=1e-5)
        assert torch.allclose(entry.gram, gram, atol=1e-5)
    mismatch = (original - compressed).T @ compressed / len(compressed)
    assert torch.allclose(entry.mismatch, mismatch, atol=1e-5)
    assert mismatch.norm() > 0.1 * gram.norm()
