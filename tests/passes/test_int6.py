"""Weights in 6 bits."""

from __future__ import annotations

import pytest

from compress.export.targets.ort_cpu import OrtCpu
from compress.passes.int6 import Int6
from compress.progress import Silent
from compress.weights.forms import Dense
from tests.support.tensors import gaussian


@pytest.mark.parametrize(("symmetry", "lowest"), [("sym", -32), ("asym", -32)])
def test_codes_use_all_of_6_bits(symmetry, lowest):
    weight = gaussian(64, 64)
    stored = Int6(solver="rtn", symmetry=symmetry).apply("w", Dense(weight), {})
    assert (stored.bits, stored.group, stored.zero_point is None) == (6, 32, symmetry == "sym")
    assert (int(stored.codes.min()), int(stored.codes.max())) == (lowest, 31)
    assert float((stored.dequantize() - weight).norm() / weight.norm()) < 0.03


def test_an_artifact_for_onnxruntime_stores_no_more_than_the_variant(llama, run, tmp_path):
    """What a token reads of it is more: codes in 8 bits, and scales in 32."""
    variant = run(llama, "int6:solver=rtn:head=float:embed=float")
    artifact = OrtCpu().export(variant, (), tmp_path, Silent())
    layers = [form for name, form in variant.manifest.weights.items() if ".layers." in name]
    assert {(form.bits, form.group) for form in layers} == {(6, 32)}
    weights = sum(form.shape[0] * form.shape[1] for form in layers)
    assert sum(form.nbytes for form in layers) == weights * 6.5 / 8
    assert weights * 6.5 / 8 < artifact.stored_bytes < weights * 6.5 / 8 + 90_000  # the float table and norms
    assert artifact.read_bytes == artifact.stored_bytes + weights * (8 + 1 - 6.5) / 8  # a scale has 1 of 32 bits more
