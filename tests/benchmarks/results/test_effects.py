"""What each pass brought, on made-up cards, and the stars by the rule of the docs."""

from pathlib import Path

import pytest

from compress.benchmarks.report.base import Report, formats
from compress.benchmarks.results.effects import effect_table, effects, stars
from compress.benchmarks.results.findings import findings
from compress.modeling.kinds import DECODER, ENCODER

BASE = {"decode_tps": [10.0] * 5, "disk_bytes": 100e6, "retention": (1.0, 1.0, 1.0)}
INT8 = {"decode_tps": [20.0, 20.1, 19.9, 20.2, 19.8], "disk_bytes": 30e6, "retention": (0.985, 0.99, 1.0)}
FUSE = {"decode_tps": [15.0] * 5, "disk_bytes": 100e6, "retention": (1.0, 1.0, 1.0)}
BOTH = {"decode_tps": [45.0, 45.1, 44.9, 45.2, 44.8], "disk_bytes": 30e6, "retention": (0.985, 0.99, 1.0)}


@pytest.fixture
def ablated(card):
    return card(torch=BASE, onnx=BASE, **{"int8,fuse": BOTH, "fuse": FUSE, "int8": INT8})


def test_a_runtime_is_held_against_itself(ablated):
    rows = tuple(row.model_copy(update={"engine": "llama.cpp"}) if row.name == "int8" else row for row in ablated.rows)
    pairs = [
        (effect.applied.text, effect.row.name, effect.without.name)
        for effect in effects(ablated.model_copy(update={"rows": rows}))
    ]
    assert pairs == [("int8", "int8,fuse", "fuse"), ("fuse", "fuse", "onnx")]
    rows = tuple(row.model_copy(update={"unavailable": "no"}) if row.name == "fuse" else row for row in ablated.rows)
    pairs = [(effect.row.name, effect.without.name) for effect in effects(ablated.model_copy(update={"rows": rows}))]
    assert pairs == [("int8,fuse", "int8"), ("int8", "onnx")]


def test_a_variant_is_held_against_those_that_lack_one_pass(ablated):
    pairs = [(effect.applied.text, effect.row.name, effect.without.name) for effect in effects(ablated)]
    assert pairs == [
        ("int8", "int8,fuse", "fuse"),
        ("fuse", "int8,fuse", "int8"),
        ("fuse", "fuse", "onnx"),
        ("int8", "int8", "onnx"),
    ]
    headers, rows = effect_table(ablated)
    assert headers[3:] == [
        "decode", "prefill", "peak RSS", "on disk", "accuracy retention",
        "latency ★", "memory ★", "accuracy ★", "difficulty ★",
    ]  # fmt: skip
    assert rows[0] == [
        "int8", "int8,fuse", "fuse", "3.00×", "–", "–", "0.30×", "0.9917× (unresolved)", "★★★★", "★★★★", "★★★★", "★★",
    ]  # fmt: skip
    assert rows[1][3:7] == ["2.25×", "–", "–", "1.00×"]


def test_without_counterparts_nothing_is_said(card):
    assert effects(card(torch=BASE, onnx=BASE, **{"int8,fuse": BOTH})) == []
    assert "What helped" not in formats()["markdown"]().files(Report([card(torch=BASE, onnx=BASE)]))["report.md"]


def test_reports_say_what_helped(ablated):
    for name in ("markdown", "html"):
        (text,) = formats()[name]().files(Report([ablated])).values()
        assert "What helped" in text
        assert "0.9917× (unresolved)" in text


def test_a_pass_that_helps_nothing_is_named(card):
    scored = card(torch=BASE, onnx=BASE, **{"int8": INT8, "int8,tune": INT8})
    assert findings(scored) == ["tune has no measurable benefit in int8,tune (compared with int8)"]
    better = INT8 | {"retention": (0.99, 0.995, 1.005)}
    assert findings(card(torch=BASE, onnx=BASE, **{"int8": INT8, "int8,tune": better})) == []


@pytest.mark.parametrize(
    ("gain", "count"), [(0.5, 1), (1.04, 1), (1.05, 2), (1.49, 2), (1.5, 3), (2.5, 4), (3.9, 4), (4.0, 5)]
)
def test_stars_for_gains(card, gain, count):
    row = {"decode_tps": [10 * gain] * 5, "disk_bytes": 100e6 / gain, "retention": (1.0, 1.0, 1.0)}
    (effect,) = effects(card(torch=BASE, onnx=BASE, x=row))
    assert stars(effect, DECODER) == ["★" * count, "★" * count, "★★★★★", "★★"]


@pytest.mark.parametrize(("retention", "count"), [(0.5, 1), (0.9, 2), (0.97, 3), (0.99, 4), (0.999, 5), (1.0, 5)])
def test_stars_for_accuracy(card, retention, count):
    (effect,) = effects(card(torch=BASE, onnx=BASE, x=BASE | {"retention": (retention, retention)}))
    assert stars(effect, DECODER)[2] == "★" * count


def test_latency_counts_downwards_for_encoders(card):
    slow, fast = ({"latency_p50": [seconds] * 5} for seconds in (0.02, 0.01))
    (effect,) = effects(card("encoder", torch=slow, onnx=slow, x=fast))
    assert effect.gain("latency_p50") == 2.0
    assert stars(effect, ENCODER) == ["★★★", "–", "–", "★★"]


def test_the_rule_in_the_docs_is_the_one_used():
    page = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ★")]
    assert [row[1:3] for row in rows[1:]] == [["1.05", "0.9"], ["1.5", "0.97"], ["2.5", "0.99"], ["4", "0.999"]]
