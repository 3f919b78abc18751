"""What the tests of passes share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from compress.checkpoint.variant import Variant
from compress.pipeline.contract import TargetCapability
from compress.pipeline.parse import Pipeline
from compress.weights.forms import Dense, Factored, Masked, Quantized, Residual
from tests.support.passes import make_variant
from tests.support.tensors import token_ids

TOKENS = token_ids(10, 32)
ANY = TargetCapability("test", (Dense, Masked, Quantized, Factored, Residual), bits=frozenset(range(2, 9)))
"""A target that holds everything."""
Run = Callable[..., Variant]


@pytest.fixture
def exact_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products in float32 throughout, whatever the processor could do faster."""
    monkeypatch.setattr("compress.calibration.precision.native_bfloat16", lambda: False)


@pytest.fixture
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """``run(path, "int4:gptq")``: a variant of the model there, calibrated on random tokens."""

    def compress(
        source: Path, pipeline: str | Pipeline, target: TargetCapability = ANY, tokens: torch.Tensor = TOKENS
    ) -> Variant:
        return make_variant(source, pipeline, target, tmp_path_factory.mktemp("variant"), tokens)

    return compress
