"""Models whose tensors are edited as they are read."""

import torch

from compress.checkpoint.edited import EditedModel, untied
from compress.checkpoint.model import Model


def test_every_tensor_is_edited_as_out_in_whatever_its_layout(tiny):
    """GPT-2's linears are stored ``[in, out]``."""
    model = Model.open(tiny("GPT2LMHeadModel", n_embd=64, n_layer=2, n_head=4, n_positions=64))
    name, shapes = "transformer.h.0.mlp.c_fc.weight", {}

    def edit(name, tensor):
        shapes[name] = tuple(tensor.shape)
        return tensor * 2

    edited = EditedModel.of(model, edit)
    assert torch.equal(edited.weight(name).tensor, 2 * model.weight(name).tensor)
    assert torch.equal(edited.tensor(name), 2 * model.tensor(name))
    assert shapes == {name: (256, 64)}
    assert edited.digest == model.digest  # it is that checkpoint still


def test_a_head_of_its_own_has_the_embeddings_numbers(llama):
    model = Model.open(llama)
    own = untied(model)
    assert (model.tied, own.tied) == (True, False)
    assert torch.equal(own.weight("lm_head.weight").tensor, model.weight("model.embed_tokens.weight").tensor)
    assert set(own.names) - set(model.names) == {"lm_head.weight"}
    assert untied(own) is own
