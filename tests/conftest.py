"""What all tests share: tiny models, made-up scorecards, naively rounded weights."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.onnx._internal.exporter._registration import ONNXRegistry

from compress.benchmarks.results.scorecard import Scorecard
from compress.weights.forms import Quantized
from tests.support import weights
from tests.support.cards import build_card
from tests.support.models import SIZES, save_model

Make = Callable[..., Path]


def pytest_configure(config: pytest.Config) -> None:
    """Where several processes share the tests (``-n``), each has one thread and its share of the processors.

    Tiny models gain nothing by more threads, and threads of one process that wait take the time of the other's.
    """
    if not hasattr(config, "workerinput"):
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # for what the tests start
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        place, count = int(config.workerinput["workerid"].removeprefix("gw")), config.workerinput["workercount"]
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, processors[place % len(processors) :: count])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes share them, files with many slow tests come first: what ends last is short."""
    if hasattr(config, "workerinput"):
        slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
        items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session", autouse=True)
def operators_read_once() -> Iterator[None]:
    """Torch's exporter reads the source of its 500 operators once a process, where it does so for every trace."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(cache(ONNXRegistry.from_torchlib)))
        yield


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Write a random model of a transformers class whose config has those options alone, and a tokenizer."""

    def make(name: str, save: dict[str, Any] | None = None, **options: Any) -> Path:
        return save_model(tmp_path_factory.mktemp(name), name, save, **options)

    return make


@pytest.fixture(scope="session")
def tiny(random_model: Make) -> Make:
    """Write a random model of a transformers class, ``tiny("LlamaForCausalLM", tie_word_embeddings=True)``."""

    def make(name: str, save: dict[str, Any] | None = None, **options: Any) -> Path:
        heads = {"num_key_value_heads": 2} if name.endswith("CausalLM") else {}
        return random_model(name, save, **{**SIZES, **heads, **options})

    return make


@pytest.fixture(scope="session")
def llama(tiny: Make) -> Path:
    """Grouped-query attention, tied head."""
    return tiny("LlamaForCausalLM", tie_word_embeddings=True)


@pytest.fixture(scope="session")
def untied(tiny: Make) -> Path:
    """The same with a head of its own."""
    return tiny("LlamaForCausalLM", tie_word_embeddings=False)


@pytest.fixture(scope="session")
def bert(tiny: Make) -> Path:
    """An encoder."""
    return tiny("BertModel")


@pytest.fixture(scope="session")
def card() -> Callable[..., Scorecard]:
    """A card of made-up figures: ``card(torch={metric: figure}, onnx=..., int8=...)``, see `build_card`."""
    return build_card


@pytest.fixture(scope="session")
def rounded() -> Callable[..., Quantized]:
    """``rounded(tensor, group, bits=8, zero=False, act=None)``, round-to-nearest; no group: one scale a channel."""
    return weights.rounded


@pytest.fixture
def no_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pip finds no package anywhere."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
