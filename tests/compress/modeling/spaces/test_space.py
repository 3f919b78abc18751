"""What a space tells of itself."""

import torch

from compress.modeling.spaces.norms import Norm
from compress.modeling.spaces.space import Reader, Space, Writer


def space(norm, reader="head"):
    return Space(
        (Writer("table", -1),), (Reader(reader, None, torch.arange(6), "norm"),), {"norm": norm},
        torch.arange(6).view(2, 3), in_heads=False,
    )  # fmt: skip


def test_its_size_is_that_of_a_part():
    assert space(Norm(0.0, True, True)).size == 3


def test_means_matter_where_a_norm_takes_them_out():
    assert space(Norm(0.0, True, True)).centered
    assert not space(Norm(0.0, False, False)).centered


def test_it_is_tied_where_one_tensor_writes_and_reads_it_behind_a_norm():
    norm = Norm(0.0, False, False)
    assert space(norm).tied is None
    assert space(norm, "table").tied == "table"
