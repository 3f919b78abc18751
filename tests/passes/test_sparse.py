"""Pass `sparse`: the same share of every output row is zero, and the manifest knows."""

from __future__ import annotations

import pytest
import torch

from compress.errors import UsageError
from compress.passes.sparse import Sparse
from compress.pipeline.parse import parse_pass
from compress.weights.forms import Dense
from tests.support.tensors import gaussian


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.9])
def test_every_row_loses_its_smallest(ratio):
    weight = gaussian(16, 64)
    actual = Sparse(solver="magnitude", refine="off", ratio=ratio).apply("w", Dense(weight), {})
    zeros = int(ratio * 64)
    assert (actual.mask.logical_not().sum(1) == zeros).all()
    dropped = weight.abs().masked_fill(actual.mask, 0).amax(1)
    magnitudes = weight.abs().masked_fill(~actual.mask, float("inf")).amin(1)
    assert (dropped <= magnitudes).all()
    assert torch.equal(actual.tensor, weight * actual.mask)


def test_embedding_head_and_skipped_matrices_stay(untied, run):
    variant = run(untied, "sparse:ratio=0.5:solver=magnitude:refine=off:skip=*.down_proj.weight")
    masked = {name for name, form in variant.manifest.weights.items() if form.masked}
    assert masked == {name for name in variant.manifest.weights if ".layers." in name and "down_proj" not in name}


@pytest.mark.parametrize("ratio", ["0", "1"])
def test_a_share_of_nothing_or_all_is_refused(ratio):
    with pytest.raises(UsageError, match=f"ratio={ratio}: it should be"):
        parse_pass(f"sparse:ratio={ratio}")
