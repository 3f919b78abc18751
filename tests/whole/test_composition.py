"""Which passes go together, and what they leave: one table, from which ``docs/composition.md`` is written as well.

A new pass is a new `Word`: its pairs with all others follow. After a change of the table, write the page again with
``python -m tests.whole.test_composition``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import pytest
import torch

from compress.checkpoint.variant import Variant
from compress.errors import UsageError
from compress.export.targets.base import find_target
from compress.pipeline.parse import Pipeline
from compress.pipeline.predict import ConfigOnlyModel, predict
from compress.progress import Silent
from compress.weights.forms import Dense, Factored, leaves, mask_of
from tests.support.passes import make_variant
from tests.support.tensors import token_ids

DOCS = Path(__file__).parents[2] / "docs" / "composition.md"
TOKENS = token_ids(6, 24)


@dataclass(frozen=True)
class Word:
    """A pass as it is written here, the weight forms that it takes, and the one that it leaves (none: graph passes)."""

    text: str
    takes: str
    leaves: str | None
    first: bool = False
    """Whether no other weight pass may come before it."""


WORDS = {
    "rotate": Word("rotate", "Dense", "Dense", first=True),
    "prune": Word("prune:ratio=0.5", "Dense", "Dense"),
    "lowrank": Word("lowrank:rank=0.4", "Dense", "Factored"),
    "sparse24": Word("sparse24", "Dense, Masked, Factored", "Masked"),
    "sparse": Word("sparse:ratio=0.4", "Dense, Masked, Factored", "Masked"),
    "int8": Word("int8:fallback=1.0", "Dense, Masked, Factored", "Quantized"),
    "int4": Word("int4:group=64", "Dense, Masked, Factored", "Quantized"),
    "fp16": Word("fp16", "Dense, Masked, Factored", "Dense"),
    "tune": Word("tune:steps=2", "Dense, Masked, Quantized, Factored, Residual", "Dense"),
    "fuse": Word("fuse", "", None),
}
TRIPLES = [
    ("lowrank", "sparse24", "int4"), ("lowrank", "sparse", "int8"), ("lowrank", "int4", "fuse"),
    ("sparse24", "int4", "fuse"), ("sparse", "int8", "fuse"), ("lowrank", "fp16", "fuse"), ("fp16", "sparse24", "int8"),
    ("prune", "lowrank", "int4"), ("prune", "tune", "int8"), ("prune", "sparse24", "tune"), ("lowrank", "int4", "tune"),
    ("rotate", "sparse24", "int4"), ("rotate", "prune", "int4"), ("prune", "rotate", "int4"),
    ("sparse24", "lowrank", "int4"), ("int4", "sparse24", "lowrank"), ("sparse", "int4", "lowrank"),
]  # fmt: skip
"""Those that are of use, and some that would be in another order."""
INTERESTING = [
    ("lowrank", "sparse24", "int4"), ("lowrank", "int8", "fuse"), ("sparse", "int4", "fuse"), ("sparse24", "fp16"),
    ("prune", "tune", "int8"), ("rotate", "int4"),
]  # fmt: skip
"""Those that run on every family."""
PAIRS = list(permutations(WORDS, 2))
FAMILIES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "bert": "BertModel"}


def text(words):
    return ",".join(WORDS[word].text for word in words)


def met(words):
    """Why an order can't work and what the table says of it: what stands before a first one, or a form; or None."""
    forms, before = {"Dense": "the model"}, None
    for word in (word for word in words if WORDS[word].leaves):
        if before and WORDS[word].first:
            return f"{text([word])} works on the model as it is, so {text([before])} can't come before it", "first"
        if unsupported := [form for form in forms if form not in WORDS[word].takes.split(", ")]:
            names = ", ".join(unsupported)
            return f"{word} works on {WORDS[word].takes} weights, but {forms[unsupported[0]]} may leave {names}", names
        forms.setdefault(WORDS[word].leaves, word)
        before = word
    return None


def order_of(words):
    """The order of the same words that works; graph passes go last."""
    weights = [word for word in words if WORDS[word].leaves]
    graphs = [word for word in words if not WORDS[word].leaves]
    return next(([*order, *graphs] for order in permutations(weights) if met(order) is None), None)


def refusal(words):
    """What is said of an order that can't work, or None."""
    if (refusal := met(words)) is None:
        return None
    order = order_of(words)
    instead = f"; this order works: {text(order)}" if order else ", and no other order works; leave one of them out"
    return f"pipeline {text(words)}: {refusal[0]}{instead}"


ROTATED = [("rotate", "lowrank"), ("rotate", "fp16"), ("rotate", "sparse24", "int4"), ("rotate", "prune", "int4")]
"""A rotated model is one like any other, so few of what comes after it are run."""
WORKING = [words for words in (*PAIRS, *TRIPLES) if refusal(words) is None]
REFUSED = [words for words in (*PAIRS, *TRIPLES) if refusal(words) is not None]
RUNS = [
    *(
        pytest.param("llama", words, marks=pytest.mark.slow)
        for words in WORKING
        if words[0] != "fuse" and (words[0] != "rotate" or words in ROTATED)
    ),
    *((family, words) for family in ("qwen2", "bert") for words in INTERESTING),
]
"""The quick tests run those that are of use; every pair takes minutes."""


@pytest.mark.parametrize("words", REFUSED, ids=",".join)
def test_an_order_that_cannot_work_is_refused_with_the_one_that_does(words):
    with pytest.raises(UsageError) as error:
        Pipeline.parse(text(words))
    assert str(error.value) == refusal(words)


@pytest.mark.parametrize("word", [word for word in WORDS if word != "fuse"])
def test_a_graph_pass_may_stand_anywhere(word):
    first, last = Pipeline.parse(text(["fuse", word])), Pipeline.parse(text([word, "fuse"]))
    assert first.weight_passes == last.weight_passes
    assert first.graph_passes == last.graph_passes


@pytest.mark.parametrize(
    ("family", "words"), RUNS, ids=lambda value: value if isinstance(value, str) else ",".join(value)
)
def test_what_works_is_stored_predicted_loaded_and_exported(tiny, tmp_path, family, words):
    path, pipeline, target = tiny(FAMILIES[family]), Pipeline.parse(text(words)), find_target("ort-cpu")
    target.check(pipeline.passes)
    variant = make_variant(path, pipeline, target.capability, tmp_path, TOKENS)
    predicted = predict(ConfigOnlyModel.read(path), pipeline, target.capability)
    assert variant.manifest.weights == predicted.weights
    assert variant.manifest.nbytes == predicted.nbytes
    check_weights(variant, words)
    check_loading(variant, pipeline, words)
    artifact = tmp_path / target.folder
    artifact.mkdir()
    target.export(variant, pipeline.graph_passes, artifact, Silent())  # the parity gate is in it


def check_weights(variant, words):
    """Forms, widths and zeros of the layers' matrices."""
    forms = {name: variant.weight(name) for name, form in variant.manifest.weights.items() if ".layer" in name}
    assert any(isinstance(weight, Factored) for weight in forms.values()) == ("lowrank" in words)
    bits = next((int(word[3:]) for word in words if word.startswith("int")), None)
    for leaf in (leaf for weight in forms.values() for leaf in leaves(weight)):
        if isinstance(leaf, Dense):
            assert bits is None
            assert leaf.tensor.dtype == (torch.float16 if "fp16" in words else torch.float32)
        else:
            assert leaf.bits == bits
        zero = leaf.dequantize() == 0
        assert (mask_of(leaf) is not None) == bool({"sparse", "sparse24"} & {*words})
        if "sparse24" in words:
            assert (zero.unflatten(1, (-1, 4)).sum(2) >= 2).all()
        if "sparse" in words:
            assert (zero.sum(1) >= int(0.4 * leaf.shape[1])).all()


def check_loading(variant, pipeline, words):
    """Read back the same; loaded by transformers, or refused for the one reason that there is."""
    again, hf = Variant.open(variant.path), find_target("hf")
    assert all(
        torch.equal(again.weight(n).dequantize(), variant.weight(n).dequantize()) for n in variant.manifest.weights
    )
    passes = pipeline.weight_passes
    if "lowrank" in words:
        with pytest.raises(UsageError, match=r"hf can't hold what lowrank produces \(Factored\); --merge stores"):
            hf.check(passes)
    else:
        hf.check(passes)
        hf.export(variant, (), variant.path, Silent())


def page():
    """The page of the docs."""
    lines = [
        "# Which passes go together",
        "",
        "Read a row's pass first, a column's second. ✓ works, on every family and in every order of `fuse`; a word",
        "is the weight form that the first may leave and the second doesn't take, or *first*, where the second must",
        "come first. `tests/whole/test_composition.py` runs every cell and every line below on tiny models, and writes",
        "this page.",
        "",
        "| first \\ second | " + " | ".join(f"`{word}`" for word in WORDS) + " |",
        "| --- |" + " --- |" * len(WORDS),
    ]
    for first in WORDS:
        cells = ["" if first == second else cell((first, second)) for second in WORDS]
        lines.append(f"| `{first}` | " + " | ".join(cells) + " |")
    lines += ["", "Three at a time:", "", "| pipeline | |", "| --- | --- |"]
    lines += [f"| `{','.join(words)}` | {cell(words)} |" for words in TRIPLES]
    lines += [
        "",
        "The order that works: a rotation, structured pruning or low rank, then zeros, then integers, which keep the",
        "zeros; `rotate` before zeros that are chosen by size alone (`solver=wanda` or `magnitude`) is refused, since",
        "it leaves channels that are all alike.",
        "16-bit floats come anywhere before integers, and `fuse` anywhere at all. `int4:compensate=16` puts a thin",
        "float product beside the integers, last of all.",
        "",
        "Masks survive integers: the code of a kept zero is the zero point. A matrix that `lowrank` factored is",
        "thinned out and rounded factor by factor, the right one first; the left one then makes its error good.",
        "",
        "Target `hf` holds no products: there `--merge` stores them multiplied out. No runtime here gains speed or",
        "bytes by zeros, and the report says so.",
        "",
    ]
    return "\n".join(lines)


def cell(words):
    """✓, or the form that stands in the way and the order that works."""
    refusal = met(words)
    if refusal is None:
        return "✓"
    order = order_of(words)
    return f"{refusal[1]}; `{','.join(order)}` works" if order and len(words) > 2 else refusal[1]


def test_the_docs_say_so():
    assert DOCS.read_text() == page(), "write the page again: python -m tests.whole.test_composition"


if __name__ == "__main__":
    DOCS.write_text(page())
