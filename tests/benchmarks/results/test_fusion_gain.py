"""What graph passes bring, by length and batch."""

import pytest

from compress.benchmarks.results.fusion_gain import Gain, gain_table, gains


def test_what_other_operators_bring_is_told_length_by_length(lengths_card):
    fusion_gains = gains(lengths_card)
    assert [(gain.length, gain.batch, gain.times["prefill_tps"].value) for gain in fusion_gains] == [
        (256, 1, pytest.approx(2)), (256, 4, pytest.approx(2)), (512, 1, pytest.approx(4)), (512, 4, pytest.approx(2))
    ]  # fmt: skip
    assert {(type(gain), gain.applied, gain.row, gain.without) for gain in fusion_gains} == {
        (Gain, "fuse", "fuse", "onnx")
    }
    assert gain_table(lengths_card) == (
        ["pass", "in", "against", "at", "prefill", "decoding"],
        [
            ["fuse", "fuse", "onnx", "256 tokens × 1", "2.00×", "1.10×"],
            ["fuse", "fuse", "onnx", "512 tokens × 1", "4.00×", "1.20×"],
            ["fuse", "fuse", "onnx", "256 tokens × 4", "2.00×", "1.10×"],
            ["fuse", "fuse", "onnx", "512 tokens × 4", "2.00×", "1.10×"],
        ],
    )
