"""Wrappers of a model and of a layer: the same function, of a list of tensors."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

from compress.checkpoint.model import Model
from compress.export.traced.attention import TracedCache
from compress.export.traced.torch_export import ExampleInput
from compress.export.traced.wrappers import LayerWrapper, ModelWrapper, TracedCall
from tests.support.tensors import gaussian, token_ids


def call(*args, **kwargs):
    leaves, spec = pytree.tree_flatten((args, kwargs))
    return TracedCall(leaves, spec, [ExampleInput.like(leaf) for leaf in leaves if isinstance(leaf, torch.Tensor)])


def test_calls_are_one_group_where_settings_and_shapes_agree():
    x, y = gaussian(1, 3, 4), gaussian(1, 3, 4, seed=1)
    first = call(x, mask=None, window=8)
    assert first.group == call(y, mask=None, window=8).group
    assert first.group != call(x, mask=None, window=9).group
    assert first.group != call(x, mask=x, window=8).group
    assert first.group != call(gaussian(1, 3, 5), mask=None, window=8).group
    assert call(TracedCache(1)).group == call(TracedCache(2)).group


class Layer(nn.Module):
    """Adds a bias and its doubled keys, and says whether it was asked to."""

    def forward(self, hidden, bias, *, past=None, twice=False):
        hidden = hidden + bias
        if past is not None:
            past.new = (torch.cat([past.own[0], hidden], 2), hidden)
        return (2 * hidden if twice else hidden, None)


def test_a_layer_gets_its_tensors_in_order_and_its_settings_as_they_were():
    hidden, bias = gaussian(1, 1, 3, 4), gaussian(4, seed=1)
    layer = LayerWrapper(Layer(), call(torch.zeros(1, 1, 3, 4), torch.zeros(4), twice=True), None)
    (actual,) = layer([hidden, bias])
    assert torch.equal(actual, 2 * (hidden + bias))


def test_a_layer_with_a_cache_takes_and_leaves_its_keys():
    hidden, bias, keys = gaussian(1, 1, 3, 4), gaussian(4, seed=1), gaussian(1, 1, 5, 4, seed=2)
    past = TracedCache(5)
    layer = LayerWrapper(Layer(), call(hidden, bias, past=TracedCache(5)), past)
    actual, new_keys, new_values = layer([hidden, bias, keys, keys])
    assert torch.equal(new_keys, torch.cat([keys, hidden + bias], 2))
    assert torch.equal(new_values, actual)


@pytest.mark.parametrize(("family", "output"), [("llama", "logits"), ("bert", "last_hidden_state")])
def test_a_model_says_the_same_of_a_list_of_tensors(request, family, output):
    module = Model.open(str(request.getfixturevalue(family))).torch_module()
    ids = token_ids(2, 6)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    wrapper = ModelWrapper(module, list(inputs), family == "llama", output)
    with torch.inference_mode():
        assert torch.equal(wrapper(list(inputs.values())), module(**inputs)[0])
