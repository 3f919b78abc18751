"""The walk: every block sees the compressed prefix, the original rides along."""

import pytest
import torch

from compress.calibration.statistics import Statistic
from compress.calibration.walk import walk_blocks
from compress.checkpoint.model import Model
from compress.errors import PassError
from compress.progress import Silent
from compress.weights.forms import Dense
from tests.support.calibration import TOKENS, direct, layers_of

pytestmark = pytest.mark.usefixtures("exact_products")


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


def test_a_block_sees_the_compressed_prefix(llama):
    model = Model.open(str(llama))
    module = model.torch_module()
    with torch.no_grad():
        for linear in module.model.layers[0].modules():
            if isinstance(linear, torch.nn.Linear):
                linear.weight.mul_(0.5)
    inputs_by_name = direct(module)
    for block, inputs in layers_of(model):
        if block.name == "model.layers.0":
            block.weights.update({name: Dense(w.dequantize() * 0.5) for name, w in block.weights.items()})
        for weight, entry in inputs.statistics(Statistic.SQUARE).items():
            assert torch.allclose(entry.square, inputs_by_name[weight].square().mean(0), atol=1e-5)


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


def test_a_tied_embedding_comes_again_as_the_head(llama):
    """The layers are calibrated on what is left in the draft; what is left in the second is what counts."""
    model = Model.open(str(llama))
    name = "model.embed_tokens.weight"
    exact, read = model.tensor(name), []
    for block, inputs in walk_blocks(model, TOKENS, Silent()):
        read.append((block.role, block.draft, inputs.stages() == [(name,)]))
        if block.role == "tied":
            assert torch.equal(block.weights[name].dequantize(), exact)
            block.weights[name] = Dense(exact * 2)
        if block.name == "model.layers.0":
            assert torch.equal(torch.cat(inputs.states), exact[TOKENS] * 2)
    layer = ("layer", False, False)
    assert read == [("tied", True, False), layer, layer, ("tied", False, True), ("rest", False, False)]


def test_nan_activations_are_refused(llama):
    with pytest.raises(PassError, match="NaN or infinite activations"):
        for block, inputs in layers_of(Model.open(str(llama))):
            inputs.statistics(Statistic.AMAX)
            name = next(iter(block.weights))
            block.weights[name] = Dense(block.weights[name].dequantize() * float("inf"))
