"""Lowered nodes and the tensors that they read, each written once."""

from __future__ import annotations

import onnx_ir as ir
import pytest
import torch

from compress.export.lowering.emitter import Emitter
from compress.export.lowering.external_data import ExternalData
from tests.support.graphs import empty_graph


@pytest.fixture
def external(tmp_path):
    with ExternalData(tmp_path) as opened:
        yield opened


def test_a_tensor_is_made_and_written_on_first_use_alone(external):
    emit, calls = Emitter(empty_graph(), external), []

    def make():
        calls.append(1)
        return torch.ones(2, 3)

    first, second = emit.initializer("weight", make), emit.initializer("weight", make)
    assert first is second
    assert len(calls) == 1
    assert external.written == 24


def test_another_shape_shares_the_bytes_under_another_name(external):
    emit = Emitter(empty_graph(), external)
    flat = emit.initializer("codes", lambda: torch.arange(6, dtype=torch.uint8))
    wide = emit.initializer("codes", torch.empty, (2, 3))
    assert wide.name == "codes.2x3"
    assert wide.const_value.offset == flat.const_value.offset
    assert external.written == 6


def test_two_graphs_share_what_they_both_read(external):
    encoder, decoder = (Emitter(empty_graph(), external) for _ in range(2))
    first = encoder.initializer("table", lambda: torch.ones(4))
    second = decoder.initializer("table", torch.empty)
    assert first is not second
    assert first.const_value is second.const_value


def test_an_initializer_without_numbers_gives_way(external):
    graph = empty_graph()
    emit = Emitter(graph, external)
    empty = emit.weight("norm.weight", [2])
    user = emit.op("Neg", empty)
    emit.append()
    stored = emit.initializer("norm.weight", lambda: torch.ones(2))
    assert user.producer().inputs[0] is stored
    assert list(graph.initializers.values()) == [stored]


def test_two_codes_in_a_byte_are_an_initializer_of_4_bits(external):
    emit = Emitter(empty_graph(), external)
    value = emit.int4_initializer("codes", lambda: torch.tensor([0x21, 0x43], dtype=torch.uint8), (2, 2))
    assert value.dtype == ir.DataType.INT4
    assert tuple(value.shape) == (2, 2)
    assert external.written == 2
