"""Operations and labels: what rotates along, what is a linear, what fixes channels."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compress.modeling.spaces.channels import Label, Ledger
from compress.modeling.spaces.norms import Norm
from compress.modeling.spaces.operations import follow

HIDDEN = 6


@pytest.fixture
def run():
    """``run(func, *args)``: an operation whose tensors are labeled; ``run.states``: hidden states, of a table."""

    class Run:
        def __init__(self):
            self.table, self.weight = nn.Parameter(torch.randn(9, HIDDEN)), nn.Parameter(torch.randn(HIDDEN, HIDDEN))
            self.ledger = Ledger({id(self.table): "table", id(self.weight): "weight"})
            self.states = self(torch.nn.functional.embedding, torch.arange(3)[None], self.table)

        def __call__(self, func, *args, **kwargs):
            out = func(*args, **kwargs)
            follow(self.ledger, func, out, args, kwargs)
            return out

        def fixed(self):
            return self.ledger.channels(Label("table", torch.empty(0))).fixed.tolist()

        def unscalable(self):
            return self.ledger.channels(Label("table", torch.empty(0))).unscalable.tolist()

    return Run()


def test_reshapes_take_the_channels_along(run):
    heads = run(torch.Tensor.transpose, run(torch.Tensor.view, run.states, 1, 3, 2, 3), 1, 2)
    assert run.ledger.label(heads).shadow[0, :, 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    _, second = run(torch.Tensor.chunk, heads, 2, dim=1)
    assert run.ledger.label(second).shadow.unique().tolist() == [3, 4, 5]
    assert not any(run.fixed())


def test_a_sum_makes_one_space_of_two(run):
    other = run(torch.nn.functional.linear, run.states, run.weight)
    total = run(torch.add, run.states, other)
    assert run.ledger.label(total).space == run.ledger.label(other).space
    assert {writer.name for writer in run.ledger.channels(run.ledger.label(total)).writers} == {"table", "weight"}
    assert [reader.name for reader in run.ledger.channels(run.ledger.label(total)).readers] == ["weight"]


@pytest.mark.parametrize("factor", [0.5, torch.tensor(2.0), torch.ones(1, 3, 1)])
def test_vectors_may_be_scaled(run, factor):
    assert run.ledger.label(run(torch.mul, factor, run.states)) is not None
    assert not any(run.fixed())


@pytest.mark.parametrize(
    ("func", "others"),
    [
        (torch.nn.functional.silu, ()),
        (torch.add, (1.0,)),
        (torch.add, (torch.ones(HIDDEN),)),
        (torch.Tensor.mean, (-1,)),
        (torch.Tensor.roll, (1, -1)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_treats_channels_one_by_one_fixes_them(run, func, others):
    assert run.ledger.label(run(func, run.states, *others)) is None
    assert all(run.fixed())

    assert all(run.unscalable())


@pytest.mark.parametrize("func", [torch.mul, torch.div])
def test_what_is_scaled_channel_by_channel_may_be_scaled_again_but_not_rotated(run, func):
    assert run.ledger.label(run(func, run.states, torch.ones(HIDDEN))) is not None
    assert all(run.fixed())
    assert not any(run.unscalable())


def test_what_a_norm_delivers_is_followed_though_its_channels_are_closed(run):
    normed = torch.ones(1, 3, HIDDEN)
    run.ledger.put_normed("norm", Norm(0.0, False, False), torch.ones(1, 3, HIDDEN), normed)
    assert run.ledger.label(run(torch.mul, normed, 0.5)).norm == "norm"
    run(torch.mul, normed, normed)
    assert run.ledger.spoiled_norms == {"norm"}


def test_a_quotient_by_channels_fixes_them(run):
    run(torch.div, 1.0, run.states)
    assert all(run.fixed())
    assert all(run.unscalable())


def test_only_the_channels_that_are_read_are_fixed(run):
    first, _ = run(torch.Tensor.split, run.states, 2, dim=-1)[:2]
    run(torch.nn.functional.gelu, first)
    assert run.fixed() == [True, True, False, False, False, False]


def test_a_product_with_a_transposed_parameter_is_a_linear(run):
    transposed = run(torch.Tensor.t, run.weight)
    out = run(torch.matmul, run.states, transposed)
    assert run.ledger.label(out).space == "weight (outputs)"
    [reader] = run.ledger.channels(run.ledger.label(run.states)).readers
    assert (reader.name, reader.columns.tolist()) == ("weight", list(range(HIDDEN)))


def test_attention_mixes_vectors_of_one_head(run):
    values = run(torch.Tensor.transpose, run(torch.Tensor.view, run.states, 1, 3, 2, 3), 1, 2)
    out = run(torch.matmul, torch.full((1, 2, 3, 3), 1 / 3), values)
    channels = run.ledger.channels(run.ledger.label(out))
    assert channels.in_heads
    assert channels.rows[0].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_scores_fix_queries_and_keys(run):
    run(torch.matmul, run.states, run.states.transpose(1, 2))
    assert all(run.fixed())


def test_an_empty_cache_is_left_out_of_a_concatenation(run):
    out = run(torch.cat, [torch.empty(0), run.states], dim=-2)
    assert run.ledger.label(out).space == "table"
