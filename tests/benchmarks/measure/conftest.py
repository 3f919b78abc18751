"""A tiny model with its float export, ready to be measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compress.benchmarks.results.contender import Contender
from compress.checkpoint.model import Model
from compress.export.targets.base import find_target
from compress.progress import Silent

Pair = tuple[Model, list[Contender]]


@pytest.fixture(scope="session")
def pair_of(
    tiny: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory, of_artifact: Callable[..., Contender]
) -> Callable[..., Pair]:
    """``pair_of(class)``: a tiny model, and its float export twice."""

    def make(name: str, **options: Any) -> Pair:
        model, out = Model.open(str(tiny(name, **options))), tmp_path_factory.mktemp("onnx")
        exported = find_target("ort-cpu").export(model, (), out, Silent())
        return model, [
            of_artifact(exported, "original", "original"),
            of_artifact(exported, "onnx", "float"),
        ]

    return make
