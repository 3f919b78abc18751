"""A made-up card of the encoder that goals speak of."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from compress.benchmarks.results.scorecard import Scorecard


@pytest.fixture
def minilm(card: Callable[..., Scorecard]) -> Callable[[float], Scorecard]:
    """``minilm(seconds)``: fused, a sentence takes so long, and 20 ms without."""
    base = {"latency_p50": [0.02], "cosine": 1.0}

    def make(latency: float) -> Scorecard:
        fused = {"latency_p50": [latency], "cosine": 1.0}
        rounded = {"latency_p50": [0.006], "cosine": 0.996}
        return card("encoder", torch=base, onnx=base, fuse=fused, **{"int8,fuse": rounded})

    return make
