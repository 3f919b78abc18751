"""Streams and heads among the spaces of a run."""

import torch

from compress.modeling.spaces.channels import SpaceRecord
from compress.modeling.spaces.classify import classify
from compress.modeling.spaces.norms import Norm
from compress.modeling.spaces.space import Reader, Writer

NORM = Norm(0.0, False, False)
VECTOR = torch.arange(4)[None]


def stream(reader="reader", fixed=False, reason=None):
    return SpaceRecord(
        torch.full((4,), fixed), {Writer("table", -1): None}, [Reader(reader, None, torch.arange(4), "norm")],
        {"norm": NORM}, [VECTOR], reason=reason,
    )  # fmt: skip


def heads(columns, fixed=()):
    mask = torch.zeros(4, dtype=torch.bool)
    mask[list(fixed)] = True
    return SpaceRecord(
        mask, {Writer("value", 0): None}, [Reader("output", None, torch.tensor(columns), None)], {},
        [torch.tensor([[0, 1], [2, 3]])], in_heads=True, reason="why",
    )  # fmt: skip


def test_a_stream_is_normed_as_a_whole():
    [space] = classify([stream()]).streams
    assert (space.size, space.in_heads) == (4, False)
    parts = stream()
    parts.rows = [torch.tensor([[0, 1], [2, 3]])]
    assert classify([parts]).streams == ()
    assert classify([stream(fixed=True, reason="why")]).stream_reason == "why"


def test_heads_are_read_in_whole_vectors():
    [space] = classify([heads([0, 1, 0, 1, 2, 3, 2, 3])]).heads
    assert (space.rows.tolist(), space.size) == ([[0, 1], [2, 3]], 2)
    assert classify([heads([0, 2, 1, 3])]).heads == ()
    assert classify([heads([0, 1, 2, 3], fixed=[3])]).heads_reason == "why"


def test_what_one_linear_reads_in_two_places_stays():
    found = classify([stream("shared"), stream("shared")])
    assert (found.streams, found.stream_reason) == ((), "shared reads it and something else")


def test_nothing_to_rotate():
    found = classify([])
    assert (found.stream_reason, found.heads_reason) == ("no norm reads it", "there is no attention")
