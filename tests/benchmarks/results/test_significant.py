"""Small figures keep their digits."""

import math

import pytest

from compress.benchmarks.results.metrics import metric
from compress.benchmarks.results.significant import decimals_for, times_text
from compress.benchmarks.statistics.measure import Measure


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.7, "3.70×"), (0.27, "0.27×"), (0.1, "0.10×"), (0.034, "0.034×"), (0.0034, "0.0034×"), (0.00001, "0.000010×"),
        (0.0, "0.00×"), (1234.5, "1234.50×"), (1e-30, "0.000000000000×"),
    ],
)  # fmt: skip
def test_a_ratio_has_two_digits_at_least(value, text):
    assert times_text(value) == text


def test_decimals():
    assert [decimals_for(value, 1) for value in (12.0, 1.0, 0.5, 0.05, -0.05, math.inf, math.nan)] == [
        1, 1, 2, 3, 3, 1, 1,
    ]  # fmt: skip


def test_figures_of_speed_and_size_have_them_too_and_those_of_accuracy_have_their_own():
    assert metric("disk_bytes").shown(Measure(value=3400)) == "0.0034"
    assert metric("decode_tps").shown(Measure(value=0.034, spread=0.01)) == "0.034 ± 0.010"
    assert metric("kl").shown(Measure(value=1e-9)) == "0.00000"
