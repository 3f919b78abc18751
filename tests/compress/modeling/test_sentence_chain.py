"""What the modules of sentence encoders compute: by hand, and against sentence-transformers' own."""

from __future__ import annotations

import pytest
import torch

from compress.modeling.sentence_chain import (
    ACTIVATIONS,
    POOLING_MODES,
    DenseLayer,
    LayerNorm,
    Normalize,
    Pooling,
    SentenceChain,
    Truncation,
    mean_pooling,
)
from tests.support.tensors import gaussian

RIGHT = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
LEFT = RIGHT.flip(1)
HIDDEN = torch.tensor([[[1.0, -2.0], [4.0, 1.0], [7.0, 7.0], [90.0, 90.0]]] * 2)


def pooling(*modes, width=2, **options):
    return Pooling(modes=modes, takes=width, **options)


@pytest.mark.parametrize(("mode", "expected"), [
    ("cls", [1.0, -2.0]),
    ("max", [7.0, 7.0]),
    ("mean", [4.0, 2.0]),
    ("mean_sqrt_len_tokens", [12 / 3**0.5, 6 / 3**0.5]),
    ("weightedmean", [(1 + 8 + 21) / 6, (-2 + 2 + 21) / 6]),
    ("lasttoken", [7.0, 7.0]),
])  # fmt: skip
@pytest.mark.parametrize("left", [False, True])
def test_a_text_is_pooled_without_its_padding(mode, expected, left):
    mask, hidden = (LEFT, HIDDEN.roll(1, 1)) if left else (RIGHT, HIDDEN)
    pooled = SentenceChain((pooling(mode),)).embed(hidden, mask)
    assert pooled[0].tolist() == pytest.approx(expected)


def test_modes_lie_side_by_side_in_their_order():
    pooled = SentenceChain((pooling("mean", "cls"),)).embed(HIDDEN, RIGHT)
    assert pooled[0].tolist() == pytest.approx([4.0, 2.0, 1.0, -2.0])


def test_modules_follow_each_other():
    layer = DenseLayer(weight=torch.tensor([[1.0, 1.0]]), bias=torch.tensor([2.0]), activation="ReLU")
    chain = SentenceChain((pooling("cls"), layer, Normalize()))
    assert chain.embed(HIDDEN, RIGHT).tolist() == [[1.0], [1.0]]
    assert (chain.width(2), chain.parameters) == (1, 3)
    assert str(chain) == "cls pooling, a dense layer 2 → 1, normalize"


@pytest.mark.parametrize(("size", "expected"), [(1, [4.0]), (9, [4.0, 2.0])])
def test_an_embedding_may_be_cut_off(size, expected):
    chain = SentenceChain((pooling("mean"), Truncation(size=size)))
    assert chain.embed(HIDDEN, RIGHT)[0].tolist() == expected
    assert (chain.width(2), str(chain)) == (len(expected), f"mean pooling, the first {size}")


def test_a_dense_layer_may_read_the_tokens():
    turned = DenseLayer(
        weight=torch.tensor([[0.0, 1.0], [1.0, 0.0]]), bias=None, activation="Identity", reads="token_embeddings",
        writes="token_embeddings",
    )  # fmt: skip
    assert SentenceChain((turned, pooling("cls"))).embed(HIDDEN, RIGHT)[0].tolist() == [-2.0, 1.0]


@pytest.mark.parametrize(("modules", "message"), [
    ((pooling("mean", width=3),), "Pooling is 3 wide, but gets 2"),
    ((pooling("mean"), LayerNorm(weight=torch.ones(3), bias=torch.ones(3))), "LayerNorm is 3 wide, but gets 2"),
    ((Normalize(),), "Normalize reads a sentence_embedding, which nothing before it makes"),
    ((), "no module makes a sentence embedding, as a Pooling would"),
])  # fmt: skip
def test_modules_that_dont_fit_are_told(modules, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        SentenceChain(modules).width(2)


def test_an_encoder_without_modules_is_compared_by_the_mean():
    assert mean_pooling(2).embed(HIDDEN, RIGHT)[0].tolist() == [4.0, 2.0]
    assert mean_pooling(2).embed(HIDDEN, torch.zeros_like(RIGHT)).tolist() == [[0.0, 0.0]] * 2


@pytest.mark.slow  # importing sentence-transformers takes seconds
def test_everything_is_as_in_sentence_transformers():
    from sentence_transformers.sentence_transformer import modules

    hidden = gaussian(3, 5, 8)
    for mask in (
        torch.tensor([[1] * 5, [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]]),
        torch.tensor([[1] * 5, [0, 1, 1, 1, 1], [0, 0, 0, 0, 1]]),
    ):
        for modes in (*((mode,) for mode in POOLING_MODES), POOLING_MODES):
            theirs = modules.Pooling(8, pooling_mode=modes)({"token_embeddings": hidden, "attention_mask": mask})
            ours = SentenceChain((pooling(*modes, width=8),)).embed(hidden, mask)
            torch.testing.assert_close(ours, theirs["sentence_embedding"])
    x, none = gaussian(3, 8), torch.empty(0)
    for name, activation in ACTIVATIONS.items():
        for outputs, residual in ((8, True), (4, True), (4, False)):
            dense = modules.Dense(8, outputs, activation_function=activation(), use_residual=residual)
            state = dense.state_dict()
            layer = DenseLayer(
                weight=state["linear.weight"], bias=state["linear.bias"], activation=name, adds_input=residual,
                residual=state.get("residual.weight"),
            )  # fmt: skip
            with torch.no_grad():
                torch.testing.assert_close(
                    layer.forward(x, none), dense({"sentence_embedding": x})["sentence_embedding"]
                )
    norm = modules.LayerNorm(8)
    torch.nn.init.normal_(norm.norm.weight)
    ours = LayerNorm(weight=norm.norm.weight, bias=norm.norm.bias).forward(x, none)
    torch.testing.assert_close(ours, norm({"sentence_embedding": x})["sentence_embedding"])
    torch.testing.assert_close(
        Normalize().forward(x, none), modules.Normalize()({"sentence_embedding": x})["sentence_embedding"]
    )
