"""Requirements and tolerances, as they are typed, and what is wrong with those that aren't."""

import re
from pathlib import Path

import pytest

from compress.benchmarks.gate.requirement import (
    METRIC_ALIASES,
    Figure,
    check_kind,
    parse_requirements,
    parse_tolerances,
)
from compress.errors import UsageError
from compress.modeling.kinds import DECODER, ENCODER

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()


def test_a_list_of_requirements():
    requirements = parse_requirements(["retention>=0.98, decode_speedup >= 1.5,bytes<=0.3x", "peak_rss<2GB"])
    assert [(r.figure.metric.key, r.figure.relative, r.operator, r.bound, r.text) for r in requirements] == [
        ("retention", False, ">=", 0.98, "retention>=0.98"),
        ("decode_tps", True, ">=", 1.5, "decode_speedup>=1.5"),
        ("disk_bytes", True, "<=", 0.3, "bytes<=0.3x"),
        ("peak_rss", False, "<", 2e9, "peak_rss<2GB"),
    ]


@pytest.mark.parametrize(
    ("text", "bound", "relative"),
    [
        ("peak_rss<=512MiB", 2**29, False),
        ("disk_bytes<100kB", 1e5, False),
        ("ttft<=200ms", 0.2, False),
        ("load_s<1.5s", 1.5, False),
        ("top1>=95%", 0.95, False),
        ("itl_p99<=0.5x", 0.5, True),
        ("prefill_speedup>1.1x", 1.1, True),
        ("kl<=1e-3", 1e-3, False),
        ("decode_tps>=.5", 0.5, False),
    ],
)
def test_units(text, bound, relative):
    (requirement,) = parse_requirements([text])
    assert (requirement.bound, requirement.figure.relative) == (pytest.approx(bound, rel=1e-15), relative)


def test_perplexity_against_the_originals_is_the_metric_that_pairs_windows():
    for text in ("perplexity<=1.05x", "perplexity_ratio<=1.05x", "perplexity_ratio<=1.05"):
        (requirement,) = parse_requirements([text])
        assert (requirement.figure.metric.key, requirement.figure.relative, requirement.bound) == (
            "perplexity_ratio",
            False,
            1.05,
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("retnetion>=0.98", "unknown metric 'retnetion'; did you mean 'retention'?"),
        ("decode_speed>=2", "did you mean 'decode_speedup'?"),
        ("retention", "isn't a metric, one of >= <= > < and a number"),
        ("retention=>0.9", "isn't a metric"),
        ("retention>=-1", "isn't a metric"),
        ("retention>=0.9,,kl<1", "has an empty requirement"),
        ("", "has an empty requirement"),
        ("peak_rss<2", "peak_rss takes B, kB, MB, GB, KiB, MiB, GiB, x (times the original's), not 'a bare number'"),
        ("ttft<2GB", "ttft takes s, ms, x (times the original's), not 'GB'"),
        ("kl<=2x", "kl takes no unit, not 'x'"),
        ("decode_speedup>=2ms", "decode_speedup takes no unit, x, not 'ms'"),
        ("retention>=98", "a share between 0 and 1; write 0.98 or 98%"),
        ("retention>=101%", "a share between 0 and 1"),
        ("kl<=1e999", "kl<=1e999: no kl is as large; give a smaller number"),
        ("kl>=2, kl<=1", "nothing can meet both kl>=2 and kl<=1"),
        ("bytes<0.3x, retention>0.9, disk_bytes>=0.3x", "nothing can meet both disk_bytes>=0.3x and bytes<0.3x"),
        ("decode_speedup>=3, decode_tps<=2x", "nothing can meet both"),
    ],
)
def test_what_is_wrong_is_said(text, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        parse_requirements([text])


def test_bounds_from_both_sides_are_no_contradiction():
    assert len(parse_requirements(["kl>=1, kl<=1", "decode_tps>=2, decode_speedup<=1", "kl<3, kl<2"])) == 6


def test_tolerances():
    tolerances = parse_tolerances(["perplexity = 1%, decode_tps=5%", "bytes=0%"])
    assert [(t.figure.name, t.share, t.text) for t in tolerances] == [
        ("perplexity", 0.01, "perplexity=1%"), ("decode_tps", 0.05, "decode_tps=5%"), ("bytes", 0.0, "bytes=0%")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("perplexity", "isn't a metric, = and a percentage"),
        ("perplexity=0.01", "needs a %"),
        ("perplexty=1%", "did you mean 'perplexity'?"),
        ("decode_tps=100%", "tolerance 'decode_tps=100%' tolerates everything; give less than 100%"),
        ("kl=" + "9" * 400 + "%", "tolerates everything"),
        ("kl=1%,kl=2%", "kl has two tolerances, kl=1% and kl=2%"),
    ],
)
def test_what_is_wrong_with_a_tolerance_is_said(text, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        parse_tolerances([text])


def test_a_metric_of_the_other_kind_is_refused():
    check_kind([Figure.named("perplexity")], DECODER)
    with pytest.raises(UsageError, match="perplexity is no metric of encoders; theirs are latency_p50"):
        check_kind([Figure.named("perplexity")], ENCODER)


def test_every_alias_is_documented():
    for name, (key, relative) in METRIC_ALIASES.items():
        assert f"| `{name}` | `{key}`{' over the original' if relative else ''}" in PAGE
