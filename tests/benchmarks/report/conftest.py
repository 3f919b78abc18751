"""A report of one format."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from compress.benchmarks.report.base import Report, formats
from compress.benchmarks.results.scorecard import Scorecard


@pytest.fixture
def render() -> Callable[..., str | bytes]:
    """The only file of a format, ``render(name, *cards)``."""

    def make(name: str, *cards: Scorecard) -> str | bytes:
        (content,) = formats()[name]().files(Report(cards)).values()
        return content

    return make
