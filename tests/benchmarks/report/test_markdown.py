"""Pages for people."""

from compress.benchmarks.report.markdown import markdown
from tests.support.cards import ONNX, QUANTIZED, TORCH


def test_markdown(card):
    text = markdown(card(torch=TORCH, onnx=ONNX, int8=QUANTIZED | {"perplexity_ratio": 1.2}))
    assert "| decode, tokens/s | 10.0 ± 0.1 | 20.0 ± 0.2<br>2.00× | 50.0 ± 0.5<br>5.00× · 2.50× |" in text
    assert text.startswith("# tiny\n\n```\ncompress tiny\n```\n\n| × torch · × onnx | torch | onnx | int8 |\n")
    assert "\n## What didn't help\n\n- int8 LOSES ACCURACY: perplexity is 1.200× the original's\n\n## Recipes\n" in text
    assert "\n| int8 | `int8` | `int8` |\n" in text
    assert "\n## Machine\n\n- processor: a processor\n- load average" in text


def test_many_variants_make_several_tables(card):
    text = markdown(card(torch=TORCH, onnx=ONNX, **{f"v{i}": QUANTIZED for i in range(9)}))
    heads = [line for line in text.splitlines() if line.startswith("| × torch")]
    columns = [[name.strip() for name in head.split("|")[2:-1]] for head in heads]
    assert columns == [
        ["torch", "onnx", *names] for names in (["v0", "v1", "v2", "v3"], ["v4", "v5", "v6", "v7"], ["v8"])
    ]
