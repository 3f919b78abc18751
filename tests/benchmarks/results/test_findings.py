"""What didn't help is said, and only that."""

import pytest

from compress.benchmarks.results.findings import beyond_noise, findings
from compress.benchmarks.statistics.measure import Measure, summarize

GOOD = {"decode_tps": [10.0, 10.1, 9.9], "prefill_tps": [100.0, 101.0, 99.0], "disk_bytes": 1000, "peak_rss": 1000}


def test_nothing_to_say(card):
    better = GOOD | {"decode_tps": [20.0, 20.2, 19.8], "disk_bytes": 300, "perplexity_ratio": 1.01}
    assert findings(card(torch=GOOD, onnx=GOOD, int8=better)) == []


def test_slower_beyond_the_interval(card):
    slow = GOOD | {"prefill_tps": [66.0, 66.5, 65.0]}
    assert findings(card(torch=GOOD, onnx=GOOD, int8=slow)) == ["int8 is SLOWER than onnx at prefill: 0.66× its speed"]


def test_slower_within_the_interval_is_unresolved(card):
    """In every launch, and yet by less than launches scatter."""
    unsure = GOOD | {"decode_tps": [9.4, 9.5, 9.8]}
    assert findings(card(torch=GOOD, onnx=GOOD, int8=unsure)) == [
        "IMPRECISE speeds: after 3 launches a contender, ratios of decoding are known to ±9%, not to ±3%; some 30 "
        "would do (--launches N)"
    ]


def test_one_launch_tells_nothing_of_speeds(card):
    single = GOOD | {"decode_tps": [10.0], "prefill_tps": [100.0]}
    slow = single | {"decode_tps": [1.0]}
    assert findings(card(torch=single, onnx=single, int8=slow)) == [
        "UNKNOWN precision of speeds: one launch a contender tells nothing of it; --launches N takes more"
    ]


def test_slower_encoders(card):
    base, slow = {"latency_p50": [0.010, 0.011]}, {"latency_p50": [0.020, 0.022]}
    assert findings(card("encoder", torch=base, onnx=base, int8=slow)) == [
        "int8 is SLOWER than onnx at a single sentence or image: 0.50× its speed"
    ]


def test_larger(card):
    large = GOOD | {"disk_bytes": 1300, "peak_rss": 1010}
    assert findings(card(torch=GOOD, onnx=GOOD, low=large)) == ["low is LARGER than onnx on disk: 1.30×"]


@pytest.mark.parametrize(
    ("figures", "line"),
    [
        ({"perplexity_ratio": 1.06}, "x LOSES ACCURACY: perplexity is 1.060× the original's"),
        ({"cosine": 0.98}, "x LOSES ACCURACY: cosine to the original's embeddings is 0.9800"),
        ({"perplexity_ratio": 1.05}, None),
        ({"cosine": 0.99}, None),
        (
            {"cosine": 0.995, "cosine_centered": 0.9},
            "x LOSES ACCURACY: less what all sentences share, cosine to the original's embeddings is 0.9000",
        ),
        (
            {"perplexity_ratio": 0.9, "kl": 1.23, "top1": 0.001},
            "x LOSES ACCURACY: KL to the original is 1.23 nats, "
            "it predicts the original's next token at 0.1% of all places",
        ),
        ({"perplexity_ratio": 1.01, "kl": 0.01, "top1": 0.97}, None),
        ({"kl": 0.01, "top1": 0.97}, "x LOSES ACCURACY: it predicts the original's class in 97.0% of all cases"),
    ],
)
def test_accuracy(card, figures, line):
    assert findings(card(torch={}, onnx={}, x=figures)) == ([line] if line else [])


def test_changed_nothing(card):
    assert findings(card(unchanged="x", torch=GOOD, onnx=GOOD, x=GOOD)) == [
        "x changed nothing: it is byte for byte the float export"
    ]


def test_noise_is_said(card):
    noisy, imprecise = findings(card(torch=GOOD | {"decode_tps": [10.0, 20.0, 30.0]}, onnx=GOOD))
    assert noisy == "NOISY run: torch: decoding varies by ±25% between launches"
    assert imprecise.startswith("IMPRECISE speeds: after 3 launches a contender, ratios of decoding are known to ±")
    once = card(torch=GOOD, onnx=GOOD)
    once.rows[0].measures["decode_tps"] = summarize([[10.0, 20.0, 30.0]])
    noisy, unknown = findings(once)
    assert noisy == "NOISY run: torch: decoding varies by ±25% between rounds"
    assert unknown.startswith("UNKNOWN precision of speeds")
    (line,) = findings(card(others=1.2, torch=GOOD, onnx=GOOD))
    assert line.startswith("BUSY machine: other programs kept 1.2 cores busy")


def test_beyond_noise():
    """Where the whole interval is on the side of worse, and the figure 2 % at least."""
    slow, unsure = summarize([[0.90], [0.91], [0.92]]), summarize([[0.8], [0.9], [0.99]])
    assert beyond_noise(slow, worse=False)
    assert not beyond_noise(slow, worse=True)
    assert not beyond_noise(unsure, worse=False)
    assert beyond_noise(summarize([[1.10], [1.11], [1.12]]), worse=True)
    assert not beyond_noise(summarize([[1.8], [1.1], [1.02]]), worse=True)
    assert not beyond_noise(Measure(value=0.99), worse=False)
    assert not beyond_noise(summarize([[0.985], [0.985], [0.985]]), worse=False)
    assert not beyond_noise(summarize([[0.5]]), worse=False)


def test_zeros_gain_nothing_where_the_runtime_computes_with_them(card):
    assert findings(card(zeros="sparse24", torch=GOOD, onnx=GOOD, sparse24=GOOD)) == [
        "sparse24 has zeros that bring no speedup and no size reduction on ort-cpu"
    ]


def test_products_are_named_where_they_are_slower_or_larger(card):
    slow = GOOD | {"prefill_tps": [66.0, 66.5, 65.0]}
    why = "low multiplies part by part: two thin products, where the original has one matrix"
    lines = findings(card(products="low", torch=GOOD, onnx=GOOD, low=slow))
    assert lines == ["low is SLOWER than onnx at prefill: 0.66× its speed", why]
    assert findings(card(products="low", torch=GOOD, onnx=GOOD, low=GOOD)) == []


def test_what_is_slower_somewhere_is_told_in_a_line(lengths_card):
    assert findings(lengths_card) == [
        "int8 is SLOWER than onnx at prefill with 256 tokens × 4, 512 tokens × 1: 0.80× its speed at worst"
    ]


def test_what_makes_accuracy_doubtful_is_said_first(card):
    scored = card(torch=GOOD, onnx=GOOD).model_copy(update={"doubts": ("the text is another language's",)})
    assert findings(scored) == ["DOUBTFUL accuracy: the text is another language's; give other data with --eval"]


def test_a_rate_of_zero_is_no_noise(card):
    assert findings(card(torch=GOOD | {"decode_tps": [0.0, 0.0, 1.0]}, onnx=GOOD)) == []


def test_rates_of_zero_leave_the_precision_open(card):
    """No ratio's interval is bounded above zero; that is no reason to end in a traceback."""
    stuck = card(torch=GOOD, onnx=GOOD, int8={"decode_tps": [0.0, 0.0, 1.0]})
    assert findings(stuck) == ["int8 is SLOWER than onnx at decoding: 0.00× its speed"]
