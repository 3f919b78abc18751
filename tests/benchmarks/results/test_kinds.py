"""Every kind of model has a plan, and the plan speaks of metrics that the kind has."""

import pytest

from compress.benchmarks.results.kinds import PLANS
from compress.benchmarks.results.metrics import metrics
from compress.modeling.kinds import KINDS


def test_every_kind_has_a_plan():
    assert set(PLANS) == set(KINDS.values())


@pytest.mark.parametrize("kind", KINDS.values(), ids=str)
def test_a_plan_speaks_of_the_kinds_metrics(kind):
    plan, keys = PLANS[kind], {metric.key for metric in metrics(kind)}
    assert {plan.speed, *plan.compared, *plan.paces} <= keys
    assert plan.speed in plan.compared
    assert len(set(plan.shown) & keys) == len(plan.shown) == 8
    assert {plan.speed, "disk_bytes", "retention"} <= set(plan.shown)


@pytest.mark.parametrize("kind", KINDS.values(), ids=str)
def test_what_reads_says_what_a_turn_reads(kind):
    assert bool(PLANS[kind].latency_of) is bool(PLANS[kind].batches_of) is not kind.generates_text
    assert bool(PLANS[kind].prefill_by) is kind.generates_text
