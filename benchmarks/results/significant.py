"""Numbers with as many decimals as they need."""

from __future__ import annotations

import math

_MOST = 12


def decimals_for(value: float, least: int) -> int:
    """Decimals that show two significant digits of a value, and ``least`` at least."""
    if not value or not math.isfinite(value) or abs(value) >= 10 ** (1 - least):
        return least
    return min(1 - math.floor(math.log10(abs(value))), _MOST)


def times_text(value: float, least: int = 2) -> str:
    """A ratio, as in ``0.27×`` and ``0.0034×``."""
    return f"{value:.{decimals_for(value, least)}f}×"
