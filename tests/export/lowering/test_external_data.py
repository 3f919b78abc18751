"""Tensors in the one file beside a graph."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import torch

from compress.export.lowering.external_data import ExternalData


def test_tensors_are_read_back_from_where_they_were_written(tmp_path):
    small, large = torch.arange(6, dtype=torch.int8).reshape(2, 3), torch.randn(64, 64)
    with ExternalData(tmp_path) as external:
        first, second = external.write("small", small), external.write("large", large)
        assert external.written == small.numel() + 4 * large.numel()
    assert (tmp_path / "model.onnx.data").stat().st_size >= external.written
    assert np.array_equal(first.numpy(), small.numpy())
    assert np.array_equal(second.numpy(), large.numpy())
    assert second.offset % 4096 == 0  # a page


def test_a_tensor_that_isnt_contiguous_is_written_in_its_own_order(tmp_path):
    tensor = torch.arange(6.0).reshape(2, 3).T
    with ExternalData(tmp_path) as external:
        stored = external.write("transposed", tensor)
    assert stored.numpy().tolist() == [[0, 3], [1, 4], [2, 5]]


def test_bytes_may_stand_for_a_type_that_torch_lacks(tmp_path):
    with ExternalData(tmp_path) as external:
        stored = external.write("codes", torch.tensor([0x21, 0x0F], dtype=torch.uint8), ir.DataType.INT4, (3,))
    assert stored.numpy().tolist() == [1, 2, -1]


def test_an_alias_has_the_same_bytes_in_another_shape(tmp_path):
    with ExternalData(tmp_path) as external:
        stored = external.write("codes", torch.arange(6, dtype=torch.uint8))
        alias = external.alias("codes.2x3", stored, (2, 3))
        assert external.written == 6
    assert alias.offset == stored.offset
    assert alias.numpy().tolist() == [[0, 1, 2], [3, 4, 5]]
