"""Torch's exporter on modules of a line or two."""

from __future__ import annotations

import logging

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

from compress.errors import ExportError
from compress.export.traced.torch_export import ExampleInput, trace_module
from tests.support.graphs import run
from tests.support.tensors import gaussian


class Scale(nn.Module):
    """``x @ weight.T + 2 * 3``, of a list of one tensor."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 3, bias=False)

    def forward(self, tensors):
        return self.inner(tensors[0]) + 2 * torch.tensor(3.0)


class Broken(nn.Module):
    def forward(self, tensors):
        raise ValueError("not today\nor tomorrow")


class Undecided(nn.Module):
    """A branch that hangs on a number, of which torch prints all that it has traced so far."""

    def forward(self, tensors):
        return tensors[0] * 2 if tensors[0].max() > 1 else tensors[0]


X = ExampleInput((2, 5, 4), (True, True, False))


def test_sizes_that_vary_are_named_for_torch():
    assert X.tensor().shape == (2, 5, 4)
    assert X.sizes == {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}
    assert ExampleInput((3,), (False,), torch.int64).tensor().dtype == torch.int64
    assert ExampleInput.like(gaussian(2, 3)) == ExampleInput((2, 3), (False, False))


def test_weights_come_without_numbers_and_constants_folded():
    module = Scale()
    model = trace_module(module, [X], ["x"], ["y"], "a scale")
    graph = model.graph
    weights = [name for name, value in graph.initializers.items() if value.const_value is None]
    assert weights == ["inner.weight"]
    assert "Mul" not in [node.op_type for node in graph]
    assert not any(node.metadata_props for node in graph)
    graph.initializers["inner.weight"].const_value = ir.tensor(module.inner.weight.detach().numpy())
    x = gaussian(3, 7, 4)  # other sizes than the example's
    (actual,) = run(graph, x=x.numpy())
    assert np.abs(actual - module([x]).detach().numpy()).max() < 1e-6
    assert graph.outputs[0].name == "y"


def test_what_torch_cannot_trace_is_an_export_error_of_one_line():
    with pytest.raises(ExportError, match=r"^torch can't trace a broken model: .*not today$"):
        trace_module(Broken(), [X], ["x"], ["y"], "a broken model")
    assert logging.getLogger("torch.export").level == logging.NOTSET  # as loud as before


def test_what_torch_prints_stays_off_the_terminal(capfd):
    with pytest.raises(ExportError, match=r"^torch can't trace a branch: .*data-dependent"):
        trace_module(Undecided(), [X], ["x"], ["y"], "a branch")
    assert capfd.readouterr() == ("", "")
