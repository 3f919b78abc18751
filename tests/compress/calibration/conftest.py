"""What the tests of calibration share."""

from __future__ import annotations

import pytest


@pytest.fixture
def exact_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products in float32 throughout, whatever the processor could do faster."""
    monkeypatch.setattr("compress.calibration.precision.native_bfloat16", lambda: False)
