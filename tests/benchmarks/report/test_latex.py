"""Tables for papers."""

import re

from compress.benchmarks.report.base import Report
from compress.benchmarks.report.latex import Latex, escape
from tests.support.cards import ONNX, QUANTIZED, TORCH


def test_latex(card):
    long = card(model="a_b & 50%", torch=TORCH, onnx=ONNX, **{"int8:group=32,fuse": QUANTIZED})
    text = Latex().files(Report([long]))["report.long.tex"]
    assert (
        r"\caption{a\_b \& 50\% on a processor, 2 threads; in brackets $\times$ torch $\cdot$ $\times$ onnx.}" in text
    )
    assert r" & torch & onnx & int8:group=32,fuse \\" in text
    assert r"decode, tokens/s & 10.0 $\pm$ 0.1 & 20.0 $\pm$ 0.2 (2.00$\times$) & 50.0 $\pm$ 0.5 (5.00$\times$" in text
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {len(re.split(r"(?<!\\)&", line)) for line in body} == {4}
    assert r"\begin{tabular}{lrrr}" in text
    assert re.findall(r"\\(?:top|mid|bottom)rule", text) == [r"\toprule", r"\midrule", r"\bottomrule"]
    unescaped = re.sub(r"\\[{}]", "", text)
    assert unescaped.count("{") == unescaped.count("}")


def test_a_short_table_fits_a_column(card):
    figures = {"prefill_tps": [400.0], "peak_rss": 300e6}
    variants = {"int8:group=32,fuse": QUANTIZED | figures, "int4": QUANTIZED | figures, "fp16": QUANTIZED | figures}
    text = Latex().files(Report([card(model="Tiny 1.5", torch=TORCH | figures, onnx=ONNX | figures, **variants)]))[
        "report.tex"
    ]
    assert re.findall(r"\\label\{(.*)\}", text) == ["tab:tiny-1-5-1", "tab:tiny-1-5-2"]
    assert (
        text.count(r"\begin{table}[t]") == text.count(r"\caption{Tiny 1.5 on a processor, 2 threads; in brackets") == 2
    )
    first = text[: text.index(r"\end{table}")]
    assert [line.split(" & ")[0].strip() for line in first.splitlines() if line.endswith(r"\\")][1:] == [
        "decode, tokens/s", "prefill, tokens/s", "peak RSS, MB", "on disk, MB", "accuracy retention",
    ]  # fmt: skip
    assert r"decode, tokens/s & 10.0 & 20.0 (2.00$\times$) & 50.0 (5.00$\times$) & 50.0 (5.00$\times$) \\" in first
    assert r" & torch & onnx & \shortstack[r]{int8: \\ group=32, \\ fuse} & int4 \\" in first


def test_every_special_character_of_latex_is_escaped():
    assert escape(r"\{}$&#^_~%<>|") == (
        r"\textbackslash{}\{\}\$\&\#\textasciicircum{}\_\textasciitilde{}\%\textless{}\textgreater{}\textbar{}"
    )
