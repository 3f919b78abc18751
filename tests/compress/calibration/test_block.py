"""Blocks: layers by another number."""

import torch

from compress.calibration.block import Block
from compress.weights.forms import Dense


def test_a_layer_is_renamed_with_all_that_it_holds():
    block = Block(
        "model.layers.3", "layer", {"model.layers.3.up.weight": Dense(torch.ones(2, 2))},
        {"model.layers.3.norm.weight": torch.ones(2)},
    )  # fmt: skip
    renamed = block.numbered(1)
    assert (renamed.name, renamed.stack) == ("model.layers.1", "model.layers")
    assert list(renamed.weights) == ["model.layers.1.up.weight"]
    assert list(renamed.vectors) == ["model.layers.1.norm.weight"]
    head = Block("head", "head", {}, {})
    assert head.numbered(1) is head
