"""Hadamard matrices of many sizes, and rotations of any."""

import pytest
import torch

from compress.passes.solvers.rotation import hadamard, rotation


@pytest.mark.parametrize("size", [1, 2, 4, 8, 12, 20, 28, 36, 48, 64, 80, 96, 128, 384, 576, 768, 896])
def test_a_hadamard_matrix_has_orthogonal_rows_of_ones(size):
    matrix = hadamard(size)
    assert matrix.abs().eq(1).all()
    assert torch.equal(matrix @ matrix.T, size * torch.eye(size, dtype=torch.float64))


@pytest.mark.parametrize("size", [3, 6, 9])
def test_sizes_that_have_none(size):
    with pytest.raises(ValueError, match=f"no Hadamard matrix of size {size} is known here"):
        hadamard(size)


def drawn(size, keeps_ones=False, seed=0):
    return rotation(size, torch.Generator().manual_seed(seed), keeps_ones)


@pytest.mark.parametrize("keeps_ones", [False, True])
@pytest.mark.parametrize("size", [1, 5, 40, 64, 100, 576])
def test_a_rotation_is_orthogonal(size, keeps_ones):
    matrix = drawn(size, keeps_ones)
    assert torch.allclose(matrix @ matrix.T, torch.eye(size, dtype=torch.float64), atol=1e-12)


def test_a_rotation_of_a_hadamard_size_spreads_every_channel_evenly():
    assert torch.allclose(drawn(576).abs(), torch.full((576, 576), 576**-0.5, dtype=torch.float64))


def test_other_sizes_are_rotated_in_the_largest_blocks_that_there_are():
    blocks = drawn(92).ne(0)  # 4 · 23: none of 92 is known here
    assert blocks[:4, :4].all()
    assert blocks.sum() == 23 * 4 * 4


def test_means_stay_where_they_are_asked_to():
    matrix = drawn(576, keeps_ones=True)
    ones = torch.ones(576, dtype=torch.float64)
    assert torch.allclose(matrix @ ones, ones, atol=1e-12)
    assert matrix.abs().max() < 0.5  # and it mixes all the same


def test_the_signs_are_drawn_from_the_generator():
    assert torch.equal(drawn(64), drawn(64))
    assert not torch.equal(drawn(64), drawn(64, seed=1))
