"""What every pass promises is checked after it."""

import pytest
import torch

from compress.errors import PassError
from compress.export.targets.ort_cpu import OrtCpu
from compress.pipeline.contract import WeightPass
from compress.pipeline.parse import Pipeline, parse_pass
from compress.weights.forms import Dense, Factored, Masked, Quantized
from tests.support.passes import make_variant
from tests.support.tensors import token_ids

TOKENS = token_ids(4, 24)


def make(source, pipeline, out, seed=0):
    return make_variant(source, pipeline, OrtCpu.capability, out, TOKENS, seed)


class Broken(WeightPass):
    """A pass that breaks its contract."""

    accepts = (Dense, Masked, Quantized, Factored)
    produces = (Dense, Masked)

    def __init__(self, change):
        self.change = change

    def __str__(self):
        return "broken"

    def apply(self, name, weight, stats):
        return self.change(weight)


Broken.name = "broken"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: Dense(w.tensor[:1]), r"left .* as \[1, 64\], but by the variant's config \[\d+, 64\] is needed"),
        (lambda w: Dense(w.tensor.double()), "larger"),
        (lambda w: Dense(w.tensor * float("nan")), "NaN"),
    ],
)
def test_postconditions_are_checked(llama, tmp_path, change, message):
    with pytest.raises(PassError, match=message):
        make(llama, Pipeline((Broken(change),)), tmp_path / "v")


def test_a_mask_is_a_postcondition(llama, tmp_path):
    def masked(weight):
        return Masked(torch.zeros_like(weight.tensor), torch.zeros_like(weight.tensor, dtype=torch.bool))

    def refill(weight):
        return Dense(weight.tensor + 1)

    make(llama, Pipeline((Broken(masked), parse_pass("int8"))), tmp_path / "v")
    with pytest.raises(PassError, match="filled or forgot zeros"):
        make(llama, Pipeline((Broken(masked), Broken(refill))), tmp_path / "w")
