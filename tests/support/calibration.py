"""Inputs and outputs of a whole model's linears and layers, taken with hooks; the layers of a walk."""

from __future__ import annotations

import torch

from compress.calibration.walk import walk_blocks
from compress.modeling.modules import layer_list
from compress.progress import Silent
from tests.support.tensors import token_ids

TOKENS = token_ids(6, 20)
RESIDUAL = ("o_proj.weight", "down_proj.weight", "output.dense.weight", "out_lin.weight", "lin2.weight")
"""The linears whose outputs are added to the hidden states."""


def direct(module, tokens=TOKENS):
    """Every linear's inputs and every layer's outputs over all tokens, ``[tokens, features]``."""
    inputs = {}

    def read(name):
        return lambda _, x: inputs.update({f"{name}.weight": x[0].flatten(0, -2)})

    def written(name):
        return lambda _, x, y: inputs.update({name: (y[0] if isinstance(y, tuple) else y).flatten(0, -2)})

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
    return inputs


def importance(outputs):
    """What a token counts that is added to a hidden state: the inverse of that one's squared size, up to the median of
    the two windows that go through together."""
    sizes = outputs.square().mean(-1).split(2 * TOKENS.shape[1])
    return torch.cat([(size.median() / size).clamp(max=1) for size in sizes])


def layers_of(model, **options):
    """The layers of a walk over a model, each with its inputs."""
    return ((b, inputs) for b, inputs in walk_blocks(model, TOKENS, Silent(), **options) if b.role == "layer")
