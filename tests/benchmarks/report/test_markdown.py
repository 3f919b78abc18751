"""Pages for people."""

from compress.benchmarks.report.markdown import markdown
from tests.support.cards import ONNX, QUANTIZED, TORCH


def test_markdown(card):
    text = markdown(card(torch=TORCH, onnx=ONNX, int8=QUANTIZED | {"perplexity_ratio": 1.2}))
    assert "| decode, tokens/s | 10.0 ± 0.1 | 20.0 ± 0.2<br>2.00× | 50.0 ± 0.5<br>5.00× · 2.50× |" in text
    assert "- int8 LOSES ACCURACY" in text
    assert "compress tiny" in text
    assert "a processor" in text


def test_many_variants_make_several_tables(card):
    text = markdown(card(torch=TORCH, onnx=ONNX, **{f"v{i}": QUANTIZED for i in range(9)}))
    heads = [line for line in text.splitlines() if line.startswith("| × torch")]
    assert [head.count("|") - 3 for head in heads] == [5, 5, 2]
