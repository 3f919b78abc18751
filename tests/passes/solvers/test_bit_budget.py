"""Sharing a budget out: against trying everything, and through the whole pass."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import pytest

from compress.calibration.statistics import Statistic
from compress.calibration.survey import Survey
from compress.checkpoint.model import Model
from compress.passes.int4 import Int4
from compress.passes.solvers.bit_budget import choose_widths, plan_widths
from compress.passes.solvers.grid import Grid
from compress.passes.solvers.solver import Solver
from compress.passes.solvers.width_losses import Trial, WidthLosses
from compress.pipeline.contract import TargetCapability
from compress.progress import Silent
from compress.weights.forms import Dense, Quantized
from tests.support.tensors import token_ids

TOKENS = token_ids(6, 24)


def trial(method="rtn"):
    return Trial("int4", Solver(method, True, "gar", False), lambda bits, _: Grid(bits, 32))


def offer(names, size, losses):
    return WidthLosses(names, {bits: bits * size for bits in losses}, losses)


def offers_with(losses, sizes):
    return [offer((f"w{i}",), size, loss) for i, (loss, size) in enumerate(zip(losses, sizes, strict=True))]


def total(offers, widths):
    return sum(offer.losses[widths[offer.names[0]]] for offer in offers)


def spent(offers, widths):
    return sum(offer.costs[widths[offer.names[0]]] for offer in offers)


def all_ways(offers):
    """Bytes and loss of every way."""
    rungs = [[(offer.costs[bits], loss) for bits, loss in offer.losses.items()] for offer in offers]
    return [tuple(map(sum, zip(*way, strict=True))) for way in product(*rungs)]


def best(ways, budget):
    """The least loss of all ways that keep the budget."""
    return min(loss for cost, loss in ways if cost <= budget + 1e-9)


def falling(generator, choices):
    """Falling losses."""
    slopes = [generator.random() for _ in range(choices[-1] - choices[0])]
    return {bits: sum(slopes[bits - choices[0] :]) for bits in choices}


@pytest.mark.parametrize("seed", range(20))
def test_equals_trying_everything(seed):
    generator = random.Random(seed)
    sizes = [100, 100, 60, 25, 150]
    offers = offers_with([falling(generator, (2, 3, 4, 8)) for _ in sizes], sizes)
    ways = all_ways(offers)
    for budget in (2, 2.2, 2.6, 3, 3.5, 3.8, 4):
        assert total(offers, choose_widths(offers, budget)) == pytest.approx(best(ways, budget * sum(sizes)))


@pytest.mark.parametrize("seed", range(20))
def test_stays_within_the_budget_and_gains_by_a_larger_one(seed):
    generator = random.Random(seed)
    sizes = [generator.randint(1, 50) for _ in range(5)]
    offers = offers_with([falling(generator, (2, 3, 4, 8)) for _ in sizes], sizes)
    ways, losses = all_ways(offers), []
    for budget in (2, 2.3, 2.7, 3.1, 3.6, 4.2, 5, 6.5, 8):
        widths = choose_widths(offers, budget)
        assert spent(offers, widths) <= budget * sum(sizes) + 1e-9
        losses.append(total(offers, widths))
        assert losses[-1] == pytest.approx(best(ways, budget * sum(sizes)))
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
    offers = [offer(("q", "k", "v"), 30, {2: 1.0, 4: 0.1}), offer(("o",), 10, {2: 1.0, 4: 0.9})]
    assert choose_widths(offers, 3.5) == {"q": 4, "k": 4, "v": 4, "o": 2}


@dataclass(frozen=True)
class Decided(Survey):
    """A survey whose losses on other text a test decides: of one width for all, and of the mixture."""

    losses: Mapping[str, float]

    def divergences(self, changes, held_out=False):
        actual = super().divergences(changes, held_out)
        return {key: self.losses[key] for key in actual} if held_out else actual


@pytest.mark.parametrize("method", ["rtn", "gptq"])
@pytest.mark.parametrize("better", ["one width", "a mixture"])
def test_a_mixture_is_taken_only_if_it_is_better_on_other_text(llama, better, method, exact_products):
    progress = Silent()
    losses = {"one": 0.25 if better == "one width" else 0.5, "mixture": 0.4}
    survey = Decided(Model.open(str(llama)), TOKENS, progress, losses)
    widths = plan_widths(survey, 3.5, (2, 3, 4), trial(method), lambda _: False)
    if better == "one width":
        assert widths == {}
        [notice] = progress.notices
        assert notice == (
            "int4: mixed=3.5 gives every matrix 3 bits: on calibration text that no width was chosen by, the best "
            "mixture loses 0.4, this 0.25"
        )
    else:
        assert progress.notices == []
        assert set(widths.values()) == {3, 4}


@dataclass(frozen=True)
class Unmeasured(Survey):
    """A survey that must not be asked."""

    def divergences(self, changes, held_out=False):
        raise AssertionError


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_a_budget_of_one_width_needs_no_survey(llama, bits):
    survey = Unmeasured(Model.open(str(llama)), TOKENS, Silent())
    assert plan_widths(survey, bits, (2, 3, 4, 8), trial(), lambda _: False) == {}


@pytest.mark.parametrize("solver", ["rtn", "gptq"])
@pytest.mark.parametrize(("mixed", "widths"), [(4.5, {2, 4, 8}), (2.5, {2, 3, 4, 8}), (6.0, {4, 8}), (4, {4})])
def test_the_pass_keeps_its_budget_and_the_targets_widths(llama, run, solver, mixed, widths):
    target = TargetCapability("test", (Dense, Quantized), frozenset(widths))
    variant = run(llama, f"int4:mixed={mixed}:head=float:embed=float:solver={solver}", target)
    layers = {name: form for name, form in variant.manifest.weights.items() if ".layers." in name}
    assert len(layers) == 14
    next_to_it = {max(bits for bits in widths if bits <= mixed), min(bits for bits in widths if bits >= mixed)}
    assert {form.bits for form in layers.values()} <= next_to_it
    sizes = {name: form.shape[0] * form.shape[1] for name, form in layers.items()}
    average = sum(form.bits * sizes[name] for name, form in layers.items()) / sum(sizes.values())
    assert mixed - 0.5 < average <= mixed
    for i in range(2):
        for group in (["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], ["mlp.gate_proj", "mlp.up_proj"]):
            assert len({layers[f"model.layers.{i}.{part}.weight"].bits for part in group}) == 1
    for name, form in layers.items():
        stored = variant.weight(name)
        assert (stored.bits, stored.group) == (form.bits, 32)
    assert (variant.manifest.calibration == "none") == (solver == "rtn" and mixed in widths)


@pytest.mark.parametrize(("pipeline", "bits"), [("int8:mixed=4", 4), ("int4:mixed=8", 8)])
def test_a_budget_of_one_width_is_that_width_whatever_the_pass_is_called(llama, run, pipeline, bits):
    target = TargetCapability("test", (Dense, Quantized), frozenset({4, 8}))
    variant = run(llama, f"{pipeline}:solver=rtn:head=float:embed=float", target)
    assert {form.bits for name, form in variant.manifest.weights.items() if ".layers." in name} == {bits}


def test_plain_rounding_needs_no_more_than_the_inputs_for_its_survey():
    assert Int4(solver="rtn", mixed=4.5).required_statistic() is Statistic.AMAX
    assert Int4(solver="rtn").required_statistic() is Statistic.NONE
    assert Int4(solver="rtn", mixed=6).required_statistic() is Statistic.NONE  # a budget that is a width
