"""Sharing a budget out: against trying everything, and through the whole pass."""

import random
from itertools import product

import pytest
import torch

from compress.calibration.statistics import Statistic
from compress.calibration.walk import walk_blocks
from compress.checkpoint.model import Model
from compress.passes.int4 import Int4
from compress.passes.solvers.bit_budget import WidthLosses, choose_widths, survey
from compress.passes.solvers.grid import Grid
from compress.passes.solvers.rounding import round_to_nearest
from compress.pipeline.contract import TargetCapability
from compress.progress import Silent
from compress.weights.forms import Dense, Quantized
from tests.support.tensors import token_ids

TOKENS = token_ids(6, 24)


def offers_with(losses, sizes):
    return [WidthLosses((f"w{i}",), size, dict(loss)) for i, (loss, size) in enumerate(zip(losses, sizes, strict=True))]


def total(offers, widths):
    return sum(offer.losses[widths[offer.names[0]]] for offer in offers)


def spent(offers, widths):
    return sum(widths[offer.names[0]] * offer.size for offer in offers)


def best(offers, budget):
    """The least loss of all ways that keep the budget."""
    bits = budget * sum(offer.size for offer in offers)
    ways = product(*(offer.losses for offer in offers))
    return min(
        sum(offer.losses[width] for offer, width in zip(offers, way, strict=True))
        for way in ways
        if sum(offer.size * width for offer, width in zip(offers, way, strict=True)) <= bits + 1e-9
    )


def falling(generator, choices):
    """Falling losses."""
    slopes = [generator.random() for _ in range(choices[-1] - choices[0])]
    return {bits: sum(slopes[bits - choices[0] :]) for bits in choices}


@pytest.mark.parametrize("seed", range(20))
def test_equals_trying_everything(seed):
    generator = random.Random(seed)
    offers = offers_with([falling(generator, (2, 3, 4, 8)) for _ in range(5)], [100, 100, 60, 25, 150])
    for budget in (2, 2.2, 2.6, 3, 3.5, 3.8, 4):
        assert total(offers, choose_widths(offers, budget)) == pytest.approx(best(offers, budget))


@pytest.mark.parametrize("seed", range(20))
def test_stays_within_the_budget_and_gains_by_a_larger_one(seed):
    generator = random.Random(seed)
    sizes = [generator.randint(1, 50) for _ in range(5)]
    offers = offers_with([falling(generator, (2, 3, 4, 8)) for _ in sizes], sizes)
    losses = []
    for budget in (2, 2.3, 2.7, 3.1, 3.6, 4.2, 5, 6.5, 8):
        widths = choose_widths(offers, budget)
        assert spent(offers, widths) <= budget * sum(sizes) + 1e-9
        losses.append(total(offers, widths))
        assert losses[-1] == pytest.approx(best(offers, budget))
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == sum(offer.losses[2] for offer in offers)
    assert losses[-1] == pytest.approx(sum(offer.losses[8] for offer in offers))


@pytest.mark.parametrize(
    ("losses", "budget", "expected"),
    [
        ({2: 1.0, 3: 0.99, 4: 0.1, 8: 0.0}, 4, 4),  # 3 saves next to nothing: from 2 straight to 4
        ({2: 1.0, 3: 0.99, 4: 0.1, 8: 0.0}, 3, 3),  # little, but it is there to be spent
        ({2: 1.0, 3: 0.4, 4: 0.5, 8: 0.1}, 5, 3),  # 4 loses more than 3: never taken
        ({2: 0.0, 3: 0.0, 4: 0.0, 8: 0.0}, 8, 2),  # nothing to gain, nothing spent
        ({2: 0.1, 4: 0.2, 8: 0.3}, 8, 2),
        ({4: 0.1}, 8, 4),
    ],
)
def test_widths_that_gain_nothing_are_never_taken(losses, budget, expected):
    assert choose_widths(offers_with([losses], [10]), budget) == {"w0": expected}


def test_what_does_not_fit_leaves_room_for_what_does():
    """The large matrix would gain most a bit, but only the small one's step fits."""
    offers = offers_with([{2: 100.0, 4: 0.0}, {2: 0.5, 4: 0.0}], [100, 10])
    assert choose_widths(offers, 2.2) == {"w0": 2, "w1": 4}


def test_matrices_that_read_the_same_inputs_get_the_same_bits():
    offers = [WidthLosses(("q", "k", "v"), 30, {2: 1.0, 4: 0.1}), WidthLosses(("o",), 10, {2: 1.0, 4: 0.9})]
    assert choose_widths(offers, 3.5) == {"q": 4, "k": 4, "v": 4, "o": 2}


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "BertModel"])
def test_a_survey_finds_that_more_bits_lose_less(tiny, name, exact_products):
    model = Model.open(str(tiny(name)))
    skip = "down_proj" if name == "LlamaForCausalLM" else "layer.0.output"
    offers = survey(
        walk_blocks(model, TOKENS, Silent()), (2, 3, 4, 8), lambda bits, _: Grid(bits, 32), lambda n: skip in n
    )
    for offer in offers:
        losses = [offer.losses[bits] for bits in (2, 3, 4, 8)]
        assert losses == sorted(losses, reverse=True)
        assert losses[3] < 5e-4 < losses[0] < 1
        assert losses[1] / losses[2] > 2  # a bit more halves the step, so the error is about a quarter
        assert offer.size == sum(model.shape(n)[0] * model.shape(n)[1] for n in offer.names)
    names = [n for offer in offers for n in offer.names]
    layers = {n for block, _ in walk_blocks(model, None, Silent()) if block.role == "layer" for n in block.weights}
    assert sorted(names) == sorted(n for n in layers if skip not in n)
    assert [len(offer.names) for offer in offers] == ([3, 1, 2] * 2 if skip == "down_proj" else [3, 1, 1, 3, 1, 1, 1])


def test_a_surveys_loss_is_that_of_the_layers_output(llama, exact_products):
    """All matrices at once, compared with the layer itself with its weights replaced."""
    model = Model.open(str(llama))
    actual = survey(walk_blocks(model, TOKENS, Silent()), (3,), lambda bits, _: Grid(bits, 32), lambda _: False)
    block, inputs = next((b, i) for b, i in walk_blocks(model, TOKENS, Silent()) if b.role == "layer")
    inputs.refresh()
    exact = [inputs.forward(i, {}) for i in range(inputs.batches)]
    stage = actual[0].names
    for name in stage:
        rounded = round_to_nearest(block.weights[name].tensor, Grid(3, 32), True).quantized()
        block.weights[name] = Dense(rounded.dequantize())
    inputs.refresh()
    off = [inputs.forward(i, {}) - target_output for i, target_output in enumerate(exact)]
    relative = [(o.square().sum(-1) / e.square().sum(-1)).mean() for o, e in zip(off, exact, strict=True)]
    assert actual[0].losses[3] == pytest.approx(float(torch.stack(relative).mean()), rel=1e-4)


@pytest.mark.parametrize("solver", ["rtn", "gptq"])
@pytest.mark.parametrize(("mixed", "widths"), [(4.5, {2, 4, 8}), (2.5, {2, 3, 4, 8}), (6.0, {4, 8}), (4, {4})])
def test_the_pass_keeps_its_budget_and_the_targets_widths(llama, run, solver, mixed, widths):
    target = TargetCapability("test", (Dense, Quantized), frozenset(widths))
    variant = run(llama, f"int4:mixed={mixed}:head=float:embed=float:solver={solver}", target)
    layers = {name: form for name, form in variant.manifest.weights.items() if ".layers." in name}
    assert len(layers) == 14
    assert {form.bits for form in layers.values()} <= widths
    sizes = {name: form.shape[0] * form.shape[1] for name, form in layers.items()}
    average = sum(form.bits * sizes[name] for name, form in layers.items()) / sum(sizes.values())
    assert mixed - 0.5 < average <= mixed
    for i in range(2):
        for group in (["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], ["mlp.gate_proj", "mlp.up_proj"]):
            assert len({layers[f"model.layers.{i}.{part}.weight"].bits for part in group}) == 1
    for name, form in layers.items():
        stored = variant.weight(name)
        assert (stored.bits, stored.group) == (form.bits, 32)
    assert variant.manifest.calibration != "none"


def test_plain_rounding_needs_no_more_than_the_inputs_for_its_survey():
    assert Int4(solver="rtn", mixed=4.5).required_statistic() is Statistic.AMAX
    assert Int4(solver="rtn").required_statistic() is Statistic.NONE
