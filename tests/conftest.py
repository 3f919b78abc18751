"""Tiny models of realistic shape, made on the spot, with a tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from compress.benchmarks.results.contender import Applied, Role
from compress.benchmarks.results.scorecard import Cell, Row, Scorecard, Settings
from compress.benchmarks.statistics.estimators import mean
from compress.benchmarks.statistics.measure import Measure, summarize
from compress.modeling.kinds import KINDS
from compress.weights.forms import Quantized
from tests.support import weights

CORPUS = "the quick brown fox jumps over a lazy dog while seven wizards box daily with jugs of quartz liquor " * 40
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
}
Make = Callable[..., Path]


def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of an odd vocabulary size."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "</s>", "<pad>"]
    bpe.train_from_iterator(
        [CORPUS], trainers.BpeTrainer(vocab_size=331, special_tokens=special, initial_alphabet=alphabet)
    )
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Write a random model of a transformers class whose config has those options alone, and a tokenizer."""

    def make(name: str, save: dict[str, Any] | None = None, **options: Any) -> Path:
        cls = getattr(transformers, name)
        words = tokenizer()
        known = {"vocab_size": len(words), "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
        torch.manual_seed(0)
        module = cls(cls.config_class(**{**known, **options})).eval()
        path: Path = tmp_path_factory.mktemp(name)
        module.save_pretrained(path, **(save or {}))
        words.save_pretrained(path)
        return path

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
    """A card of made-up figures, ``card(name={metric: figure}, ...)``; the first two are the baselines.

    A list stands for rounds, a tuple for windows. Figures under ``(length, batch)`` are those of a cell; ``errors`` are
    what each layer lost.
    """

    def measure(figure: object) -> Measure:
        match figure:
            case list():
                return summarize(figure)
            case tuple():
                return mean(figure)
        return Measure(value=float(str(figure)))

    def make(
        kind: str = "decoder",
        others: float = 0.0,
        unchanged: str = "",
        zeros: str = "",
        products: str = "",
        model: str = "tiny",
        text: str = "",
        processor: str = "a processor",
        **rows: dict[Any, Any],
    ) -> Scorecard:
        roles: list[Role] = ["original", "float"]
        made = [
            Row(
                name=name,
                path=name,
                engine="torch" if i == 0 else "ort-cpu",
                role=roles[i] if i < 2 else "variant",
                recipe=name,
                parameters=1000,
                unchanged=name == unchanged,
                zeros=name == zeros,
                products=name == products,
                passes=tuple(Applied(text, 2, text == "fuse") for text in name.split(",")) if i > 1 else (),
                measures={
                    key: measure(value) for key, value in figures.items() if isinstance(key, str) and key != "errors"
                },
                cells=tuple(
                    Cell(length=key[0], batch=key[1], measures={k: measure(v) for k, v in value.items()})
                    for key, value in figures.items()
                    if isinstance(key, tuple)
                ),
                errors=figures.get("errors"),
            )
            for i, (name, figures) in enumerate(rows.items())
        ]
        cells = [cell for row in made for cell in row.cells]
        lengths, batches = ({getattr(cell, what): None for cell in cells} for what in ("length", "batch"))
        return Scorecard(
            model=model,
            kind=KINDS[kind],
            created="2026-01-01T00:00:00+00:00",
            command="compress tiny",
            settings=Settings(lengths=tuple(lengths), batches=tuple(batches)),
            threads=2,
            machine={"processor": processor},
            versions={"python": "3"},
            load=0.0,
            others=others,
            bandwidth=1e10,
            windows=(8, 512),
            text_sha256=text,
            rows=tuple(made),
        )

    return make


@pytest.fixture(scope="session")
def rounded() -> Callable[..., Quantized]:
    """``rounded(tensor, group, bits=8, zero=False, act=None)``, round-to-nearest; no group: one scale a channel."""
    return weights.rounded


@pytest.fixture
def no_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pip finds no package anywhere."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
