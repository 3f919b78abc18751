"""Verdicts on made-up cards: what the noise can't hide fails, what it can is inconclusive."""

import numpy as np
import pytest

from compress.benchmarks.gate.judge import compare_with_baseline, differences, judge
from compress.benchmarks.gate.requirement import parse_requirements, parse_tolerances
from compress.benchmarks.results.table import comparison_table
from compress.errors import UsageError
from tests.support.cards import BASE, INT8


def verdicts(card, text, **rows):
    scored = card(torch=BASE, onnx=BASE, **(rows or {"int8": INT8}))
    return [
        (verdict.variant, verdict.requirement, verdict.outcome, verdict.why)
        for verdict in judge(scored, parse_requirements([text]))
    ]


@pytest.mark.parametrize(
    ("text", "outcome", "why"),
    [
        ("bytes<=0.3x", "passed", ""),
        ("bytes<0.3x", "failed", "missed by 0.00%"),
        ("disk_bytes<=25MB", "failed", "missed by 20.00%"),
        ("decode_tps>=19.3", "passed", ""),
        ("decode_tps>=19.5", "inconclusive", "met by 2.56%, which is inside the noise; some 7 launches would decide"),
        (
            "decode_tps>=20.5",
            "inconclusive",
            "missed by 2.44%, which is inside the noise; some 8 launches would decide",
        ),
        ("decode_tps>=21", "failed", "missed by 4.76%"),
        ("decode_tps<=21", "passed", ""),
        ("retention>=0.94", "passed", ""),
        (
            "retention>=0.96",
            "inconclusive",
            "met by 1.56%, which is inside the noise; some 6 evaluation windows would decide",
        ),
        ("retention>=0.999", "failed", "missed by 2.40%"),
        ("kl<=0.1", "failed", "not measured"),
    ],
)
def test_a_requirement(card, text, outcome, why):
    rows = {"int8": INT8, "other": INT8 | {"kl": (0.01, 0.02)}}
    assert verdicts(card, text, **rows)[0] == ("int8", text, outcome, why)


def test_ratios_are_taken_launch_by_launch(card):
    """Both halve in the third launch: the speedup is 2 to the bit."""
    slow, fast = {"decode_tps": [10.0, 10.0, 5.0]}, {"decode_tps": [20.0, 20.0, 10.0]}
    scored = card(torch=slow, onnx=slow, int8=fast)
    (verdict,) = judge(scored, parse_requirements(["decode_speedup>=2"]))
    assert (verdict.outcome, verdict.measured) == ("passed", "2×")
    (verdict,) = judge(scored, parse_requirements(["decode_tps>=20"]))
    assert (verdict.outcome, verdict.measured) == ("inconclusive", "20.0 ± 2.5 tokens/s")


def test_only_variants_are_judged(card):
    assert verdicts(card, "bytes<=0.9x") == [("int8", "bytes<=0.9x", "passed", "")]


def test_some_variants_can_be_picked(card):
    scored = card(torch=BASE, onnx=BASE, int8=INT8, fuse=BASE)
    (verdict,) = judge(scored, parse_requirements(["bytes<=0.3x"]), ["int8"])
    assert (verdict.variant, verdict.outcome) == ("int8", "passed")
    (verdict,) = compare_with_baseline(scored, scored, parse_tolerances(["bytes=0%"]), ["fuse"])
    assert (verdict.variant, verdict.outcome) == ("fuse", "passed")
    with pytest.raises(UsageError, match="unknown variant 'int9'; did you mean 'int8'"):
        judge(scored, parse_requirements(["bytes<=0.3x"]), ["int9"])


def test_a_variant_of_several_runtimes_is_picked_whole_or_in_one(card):
    """What couldn't be run fails what it wasn't measured in."""
    made = card(torch=BASE, onnx=BASE, **{"int8/ort-cpu": INT8, "int8/gguf": {"disk_bytes": 30e6}, "fuse": BASE})
    rows = [row.model_copy(update={"engine": "llama.cpp"}) if "gguf" in row.name else row for row in made.rows]
    scored = made.model_copy(update={"rows": tuple(rows)})
    requirements = parse_requirements(["bytes<=0.3x", "decode_tps>=1"])
    assert [(verdict.variant, verdict.outcome, verdict.why) for verdict in judge(scored, requirements, ["int8"])] == [
        ("int8/ort-cpu", "passed", ""), ("int8/ort-cpu", "passed", ""),
        ("int8/gguf", "passed", ""), ("int8/gguf", "failed", "not measured"),
    ]  # fmt: skip
    assert {verdict.variant for verdict in judge(scored, requirements, ["int8/ort-cpu"])} == {"int8/ort-cpu"}


def test_what_no_variant_has_is_refused(card):
    with pytest.raises(UsageError, match="no variant of tiny has kl; measured were decode_tps, disk_bytes, retention"):
        verdicts(card, "kl<=1")
    with pytest.raises(UsageError, match="no variants"):
        judge(card(torch=BASE, onnx=BASE), parse_requirements(["bytes<=1x"]))


def compared(card, now, then, tolerances, **options):
    cards = [card(torch=BASE, onnx=BASE, int8=row, **options) for row in (now, then)]
    return [(verdict.outcome, verdict.why) for verdict in compare_with_baseline(*cards, parse_tolerances([tolerances]))]


def test_an_unchanged_variant_passes_any_tolerance_on_the_same_text(card):
    assert compared(card, INT8, INT8, "retention=0%, disk_bytes=0%", text="abc") == [("passed", "")] * 2


def test_the_same_text_is_compared_window_by_window(card):
    """Windows differ by more than the change: only pairing them shows it."""
    windows = (0.03, 0.04, 0.05, 0.06, 0.07)
    then, now = {"kl": windows}, {"kl": tuple(value + 0.001 for value in windows)}
    assert compared(card, now, then, "kl=1%", text="abc") == [("failed", "+2.00%")]
    assert compared(card, now, then, "kl=5%", text="abc") == [("passed", "")]
    assert compared(card, now, then, "kl=1%") == [("inconclusive", "+2.00%, which is inside the noise")]
    uneven = {"kl": tuple(value + change for value, change in zip(windows, (0.002, 0.0, 0.003, 0.0, 0.0), strict=True))}
    assert compared(card, uneven, then, "kl=1%", text="abc") == [
        ("inconclusive", "+2.00%, which is inside the noise; some 37 evaluation windows would decide")
    ]


def test_runs_that_read_more_of_the_same_text_are_compared_on_what_both_read(card):
    windows = (0.03, 0.04, 0.05, 0.06, 0.07)
    then, now = {"kl": (*windows, 0.9, 0.8, 0.7)}, {"kl": tuple(value + 0.001 for value in windows)}
    assert [outcome for outcome, _ in compared(card, now, then, "kl=1%", text="abc")] == ["failed"]
    assert [outcome for outcome, _ in compared(card, now, then, "kl=5%", text="abc")] == ["passed"]


@pytest.mark.parametrize(
    ("speeds", "expected"),
    [
        ([19.9, 20.0, 20.1, 20.2, 19.8], ("passed", "")),
        ([18.9, 19.0, 19.1, 19.2, 18.8], ("inconclusive", "-5.00%, which is inside the noise")),
        ([15.0, 15.1, 14.9, 15.2, 14.8], ("failed", "-25.00%")),
    ],
)
def test_speeds_of_two_runs(card, speeds, expected):
    then = {"decode_tps": [19.8, 20.0, 20.2, 20.1, 19.9]}
    assert compared(card, {"decode_tps": speeds}, then, "decode_tps=5%") == [expected]
    assert compared(card, {"decode_tps": [50.0] * 5}, then, "decode_tps=0%") == [("passed", "")]


def test_a_real_drop_is_found_and_no_drop_isnt(card):
    """A hundred pairs of runs of five noisy rounds: 5 % tolerated."""
    draws = np.random.default_rng(0).normal(1.0, 0.02, (200, 5))
    outcomes = {}
    for speed in (20.0, 17.0):
        pairs = [({"decode_tps": list(speed * a)}, {"decode_tps": list(20 * b)}) for a, b in draws.reshape(100, 2, 5)]
        outcomes[speed] = [compared(card, *pair, "decode_tps=5%")[0][0] for pair in pairs]
    assert outcomes[20.0].count("failed") == 0
    assert outcomes[20.0].count("passed") >= 80
    assert outcomes[17.0].count("passed") == 0
    assert outcomes[17.0].count("failed") >= 95


def test_what_makes_a_comparison_unsure_is_said(card):
    now = card(torch=BASE, onnx=BASE, int8=INT8, fuse=BASE, text="abc")
    then = card(torch=BASE, onnx=BASE, int8=INT8, int4=INT8, text="def", model="other", processor="another")
    assert differences(now, now) == []
    assert differences(now, then) == [
        "the baseline is a report of other, not of tiny",
        "the baseline was measured on another machine: compare ratios like decode_speedup, not speeds",
        "the baseline was evaluated on another text: accuracy can't be compared window by window",
        "the baseline also has int4, which this report lacks",
        "the baseline lacks fuse, so nothing is compared there",
    ]


def test_nothing_to_compare_is_refused(card):
    now, then = (card(torch=BASE, onnx=BASE, **{name: INT8}) for name in ("int8", "int4"))
    with pytest.raises(UsageError, match="nothing to compare"):
        compare_with_baseline(now, then, parse_tolerances(["bytes=1%"]))
    with pytest.raises(UsageError, match="has kl"):
        compare_with_baseline(now, now, parse_tolerances(["kl=1%"]))


def test_a_busy_machine_makes_verdicts_on_speed_inconclusive(card):
    rows = {"torch": {"decode_tps": [10.0] * 5}, "onnx": {"decode_tps": [20.0] * 5}, "int8": {"decode_tps": [40.0] * 5}}
    required = parse_requirements(["decode_tps>=30"])
    verdicts = {others: judge(card(others=others, **rows), required)[0].outcome for others in (0.0, 0.2, 0.6)}
    assert verdicts == {0.0: "passed", 0.2: "passed", 0.6: "inconclusive"}  # 0.6 of two threads: 28 to 52
    busy, idle = (card(others=others, **rows) for others in (0.6, 0.0))
    tolerated = parse_tolerances(["decode_tps=10%"])
    assert (
        compare_with_baseline(busy, idle, tolerated)[0].outcome
        == compare_with_baseline(idle, busy, tolerated)[0].outcome
        == "inconclusive"
    )
    assert compare_with_baseline(idle, idle, tolerated)[0].outcome == "passed"


@pytest.mark.parametrize("key", ["peak_rss", "disk_bytes"])
def test_a_busy_machine_changes_no_verdict_on_bytes(card, key):
    rows = {name: {key: [1e9] * 5} for name in ("torch", "onnx", "int8")}
    busy = card(others=1.0, **rows)
    assert judge(busy, parse_requirements([f"{key}<=1.01GB"]))[0].outcome == "passed"
    assert compare_with_baseline(busy, busy, parse_tolerances([f"{key}=1%"]))[0].outcome == "passed"


def test_tasks_are_judged_by_the_direction_that_their_card_tells(card):
    """No lm-eval needed: a report with tasks is read anywhere."""
    tasks = {"a.acc": "higher", "a.bits.strict-match": "lower"}
    figures = {"a.acc": (0.5, 0.5, 0.5), "a.bits.strict-match": (2.0, 2.0, 2.0)}
    worse = {"a.acc": (0.4, 0.4, 0.4), "a.bits.strict-match": (3.0, 3.0, 3.0)}
    then = card(torch=figures, onnx=figures, int8=figures).model_copy(update={"tasks": tasks})
    now = card(torch=figures, onnx=figures, int8=worse).model_copy(update={"tasks": tasks})
    tolerances = parse_tolerances(["a.acc=10%, a.bits.strict-match=10%"])
    assert [verdict.outcome for verdict in compare_with_baseline(now, then, tolerances)] == ["failed", "failed"]
    assert [verdict.outcome for verdict in compare_with_baseline(then, now, tolerances)] == ["passed", "passed"]
    required = parse_requirements(["a.acc>=0.45, a.bits.strict-match<=2.5"])
    assert [verdict.outcome for verdict in judge(then, required)] == ["passed", "passed"]
    assert [verdict.outcome for verdict in judge(now, required)] == ["failed", "failed"]
    relative = parse_requirements(["a.acc>=0.9x"])
    assert (relative[0].figure.relative, relative[0].bound) == (True, 0.9)
    assert [verdict.outcome for verdict in judge(then, relative) + judge(now, relative)] == ["passed", "failed"]
    assert judge(now, relative)[0].measured == "0.8×"
    half = {"a.acc": (1.0, 0.0, 1.0, 0.0)}
    noisy = card(torch=half, onnx=half, int8={"a.acc": (1.0, 0.0, 0.0, 1.0)}).model_copy(update={"tasks": tasks})
    assert judge(noisy, relative)[0].outcome == "inconclusive"  # as many right, but others
    with pytest.raises(UsageError, match="no variant of tiny has a.ac; measured were a.acc, a.bits.strict-match"):
        judge(now, parse_requirements(["a.ac>=0.1"]))
    assert [row.heading for row in comparison_table(now)[1]] == list(tasks)


def test_so_many_windows_as_it_says_do_decide(card):
    """Windows that scatter like the four at hand, as many as would decide and a fifth fewer."""
    windows = (0.96, 0.97, 0.98, 0.99)
    (verdict,) = judge(
        card(torch=BASE, onnx=BASE, int8=INT8 | {"retention": windows}), parse_requirements(["retention>=0.971"])
    )
    needed = int(verdict.why.rpartition("some ")[2].split()[0].replace(",", ""))
    deviation = np.std(windows, ddof=1)
    outcomes = {}
    for count in (needed, needed * 4 // 5):
        spread = np.linspace(-1, 1, count)
        drawn = 0.975 + spread * deviation / np.std(spread, ddof=1)
        many = card(torch=BASE, onnx=BASE, int8=INT8 | {"retention": tuple(drawn.tolist())})
        outcomes[count] = judge(many, parse_requirements(["retention>=0.971"]))[0].outcome
    assert list(outcomes.values()) == ["passed", "inconclusive"]


def test_a_single_window_tells_nothing(card):
    (verdict,) = judge(card(torch=BASE, onnx=BASE, int8={"retention": (0.97,)}), parse_requirements(["retention>=0.9"]))
    assert (verdict.outcome, verdict.why) == (
        "inconclusive", "met by 7.78%, which is inside the noise; more evaluation windows would tell"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("then", "message"),
    [
        ({"model": "hub/other"}, "the baseline is a report of hub/other, not of my/tiny"),
        ({"model": "elsewhere/tiny"}, None),
        ({"model": "other", "digest": "abc"}, None),
        ({"model": "my/tiny", "digest": "def"}, None),  # the same model, trained further
        ({"model": "tiny", "kind": "encoder"}, "the baseline is a report of tiny, which is no decoder"),
    ],
)
def test_a_baseline_of_another_model_is_refused(card, then, message):
    rows = {"torch": {"disk_bytes": 3.0}, "onnx": {"disk_bytes": 3.0}, "int8": {"disk_bytes": 1.0}}
    now, last = card(model="my/tiny", digest="abc", **rows), card(**then, **rows)
    tolerances = parse_tolerances(["bytes=1%"])
    if message is None:
        assert compare_with_baseline(now, last, tolerances)[0].outcome == "passed"
        assert "not of" not in " ".join(differences(now, last))
        return
    with pytest.raises(UsageError, match=f"{message}; name a report of the same model, or pass --any-model"):
        compare_with_baseline(now, last, tolerances)
    assert differences(now, last)[0] == message


def test_a_baseline_of_other_sizes_is_another_model_unless_that_is_meant(card):
    now, last = (card(torch=BASE, onnx=BASE, int8=INT8) for _ in range(2))
    rows = tuple(row.model_copy(update={"parameters": 2000}) for row in last.rows)
    last = last.model_copy(update={"rows": rows})
    with pytest.raises(UsageError, match="another tiny: of 2,000 parameters, where this has 1,000"):
        compare_with_baseline(now, last, parse_tolerances(["bytes=1%"]))
    assert compare_with_baseline(now, last, parse_tolerances(["bytes=1%"]), any_model=True)[0].outcome == "passed"
