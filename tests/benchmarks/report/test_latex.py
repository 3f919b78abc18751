"""Tables for papers."""

import re

from compress.benchmarks.report.latex import escape
from tests.support.cards import ONNX, QUANTIZED, TORCH


def test_latex(card, render):
    text = render("latex", card(model="a_b & 50%", torch=TORCH, onnx=ONNX, **{"int8:group=32,fuse": QUANTIZED}))
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


def test_every_special_character_of_latex_is_escaped():
    assert escape(r"\{}$&#^_~%<>|") == (
        r"\textbackslash{}\{\}\$\&\#\textasciicircum{}\_\textasciitilde{}\%\textless{}\textgreater{}\textbar{}"
    )
