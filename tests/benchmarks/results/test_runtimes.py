"""Which runtime is the fastest for the integers of a variant, by the interval of the ratio."""

import pytest

from compress.benchmarks.results.runtimes import fastest_runtimes

FAST = {"decode_tps": [20.0, 20.2, 19.8, 20.1, 19.9], "prefill_tps": [100.0, 101.0, 99.0, 100.0, 102.0]}
SLOW = {"decode_tps": [10.0, 10.1, 9.9, 10.05, 9.95], "prefill_tps": [101.0, 99.0, 100.0, 102.0, 100.0]}


def in_runtimes(card, engines, kind="decoder", **rows):
    """A card of a variant's artifacts, in these engines."""
    made = card(kind, torch={}, onnx={}, **rows)
    artifacts = [row.model_copy(update={"engine": engines.get(row.name, row.engine)}) for row in made.rows]
    return made.model_copy(update={"rows": tuple(artifacts)})


BOTH = {"int4/gguf": "llama.cpp", "int4/ort-cpu": "ort-cpu"}


def test_the_fastest_is_told_for_each_kind_of_work(card):
    scored = in_runtimes(card, BOTH, **{"int4/ort-cpu": SLOW, "int4/gguf": FAST})
    assert fastest_runtimes(scored) == [
        "int4, the same integers: decodes fastest in llama.cpp here, 2.00× as fast as in ort-cpu; reads prompts as "
        "fast in ort-cpu as in llama.cpp here, as far as this run can tell"
    ]


def test_latencies_are_faster_when_lower(card):
    quick, late = {"latency_p50": [0.01] * 5}, {"latency_p50": [0.03] * 5}
    scored = in_runtimes(card, BOTH, "encoder", **{"int4/ort-cpu": quick, "int4/gguf": late})
    assert fastest_runtimes(scored) == [
        "int4, the same integers: embeds fastest in ort-cpu here, 3.00× as fast as in llama.cpp"
    ]


@pytest.mark.parametrize("names", [("int4", "int8"), ("int4/ort-cpu", "int8/gguf")])
def test_variants_of_their_own_are_not_compared(card, names):
    scored = in_runtimes(card, {names[1]: "llama.cpp"}, **{names[0]: SLOW, names[1]: FAST})
    assert fastest_runtimes(scored) == []


def test_what_cannot_be_run_is_not_compared(card):
    scored = in_runtimes(card, BOTH, **{"int4/ort-cpu": SLOW, "int4/gguf": FAST})
    rows = [row.model_copy(update={"unavailable": "no" if "gguf" in row.name else ""}) for row in scored.rows]
    assert fastest_runtimes(scored.model_copy(update={"rows": tuple(rows)})) == []
