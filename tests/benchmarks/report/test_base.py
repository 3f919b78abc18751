"""Every format of a report."""

import csv
import io
import re
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from compress.benchmarks.report.base import formats, write
from compress.benchmarks.report.latex import escape
from compress.benchmarks.report.markdown import markdown
from compress.benchmarks.results.report_file import read_card, read_cards

TORCH = {"decode_tps": [10.0, 10.0, 10.4], "disk_bytes": 100e6, "perplexity": 17.756, "top1": 1.0, "retention": 1.0}
ONNX = {"decode_tps": [20.0, 20.0, 20.8], "disk_bytes": 100e6, "perplexity": 17.756, "top1": 1.0, "retention": 1.0}
INT8 = {"decode_tps": [50.0, 50.0, 52.0], "disk_bytes": 27e6, "perplexity": 17.8, "top1": 0.981, "retention": 0.9975}
FILES = {"report.md", "report.json", "report.csv", "report.tex", "report.html"} | {
    f"report.accuracy-{cost}.{suffix}" for cost in ("size", "speed") for suffix in ("png", "svg")
}


def render(name, *cards):
    (content,) = formats()[name]().files(cards).values()
    return content


def test_markdown(card):
    text = markdown(card(torch=TORCH, onnx=ONNX, int8=INT8 | {"perplexity_ratio": 1.2}))
    assert "| decode, tokens/s | 10.0 ± 0.1 | 20.0 ± 0.2<br>2.00× | 50.0 ± 0.5<br>5.00× · 2.50× |" in text
    assert "- int8 LOSES ACCURACY" in text
    assert "compress tiny" in text
    assert "a processor" in text


def test_many_variants_make_several_tables(card):
    text = markdown(card(torch=TORCH, onnx=ONNX, **{f"v{i}": INT8 for i in range(9)}))
    heads = [line for line in text.splitlines() if line.startswith("| × torch")]
    assert [head.count("|") - 3 for head in heads] == [5, 5, 2]


def test_every_format_is_written(card, tmp_path):
    made = card(torch=TORCH, onnx=ONNX, int8=INT8)
    assert {file.name for file in write([made], tmp_path)} == FILES == {file.name for file in tmp_path.iterdir()}
    assert read_card(tmp_path) == made


def test_without_retention_there_is_nothing_to_plot(card, tmp_path):
    bare = {"disk_bytes": 1.0}
    write([card(torch=bare, onnx=bare)], tmp_path)
    assert not list(tmp_path.glob("report.accuracy-*"))
    assert "<svg" not in (tmp_path / "report.html").read_text()


def test_several_runs_make_one_report(card, tmp_path):
    small = {"latency_p50": [0.01, 0.02], "retention": 1.0, "disk_bytes": 10e6}
    cards = [
        card(torch=TORCH, onnx=ONNX, int8=INT8 | {"perplexity_ratio": 1.2}),
        card("encoder", model="bert", processor="another", torch=small, onnx=small, int8=small | {"disk_bytes": 4e6}),
    ]
    write(cards, tmp_path)
    assert read_cards(tmp_path) == cards
    text = (tmp_path / "report.md").read_text()
    assert "| model | machine | variant | decode, tokens/s | latency p50, ms | on disk, MB |" in text
    assert "| tiny | a processor, 2 threads | int8 | 50.0 ± 0.5 (5.00×) | – | 27.0 (0.27×) |" in text
    assert "| bert | another, 2 threads | int8 | – | 15.00 ± 2.50 (1.00×) | 4.0 (0.40×) |" in text
    assert "- tiny: int8 LOSES ACCURACY" in text


def test_csv_is_what_was_stored(card):
    odd = card(model='a,"b"', torch=TORCH, onnx=ONNX, int8=INT8)
    rows = list(csv.DictReader(io.StringIO(render("csv", odd))))
    assert [(row["model"], row["variant"], row["role"]) for row in rows] == [
        ('a,"b"', "torch", "original"), ('a,"b"', "onnx", "float"), ('a,"b"', "int8", "variant")
    ]  # fmt: skip
    figures = {key: rows[2][key] for key in ("decode_tps", "decode_tps_spread", "decode_tps_ratio", "disk_bytes")}
    assert {key: float(value) for key, value in figures.items()} == {
        "decode_tps": 50.0, "decode_tps_spread": 0.5, "decode_tps_ratio": 5.0, "disk_bytes": 27e6
    }  # fmt: skip
    assert (rows[0]["decode_tps_ratio"], rows[2]["disk_bytes_spread"], rows[2]["top1"]) == ("", "", "0.981")


def test_latex(card):
    text = render("latex", card(model="a_b & 50%", torch=TORCH, onnx=ONNX, **{"int8:group=32,fuse": INT8}))
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


def test_html_is_one_file_and_escapes(card):
    text = render("html", card(model="<b>&", torch=TORCH, onnx=ONNX, **{"int8<script>": INT8}))
    assert "<h1>&lt;b&gt;&amp;</h1>" in text
    assert "int8<script>" not in text
    assert not re.search(r'(?:src|href)="(?!#)', text)
    assert "@import" not in text
    pictures = re.findall(r"<svg.*?</svg>", text, re.S)
    assert len(pictures) == 2
    identifiers = [set(re.findall(r'id="([^"]+)"', picture)) for picture in pictures]
    assert not identifiers[0] & identifiers[1]
    for picture, own in zip(pictures, identifiers, strict=True):
        ElementTree.fromstring(picture)
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', picture)) <= own


def test_the_same_figures_give_the_same_files(card, tmp_path):
    made = card(torch=TORCH, onnx=ONNX, int8=INT8)
    first = {file.name: file.read_bytes() for file in write([made], tmp_path)}
    assert {file.name: file.read_bytes() for file in write([made], tmp_path)} == first


@pytest.mark.parametrize("name", ["report.accuracy-size.svg", "report.accuracy-speed.svg"])
def test_plots_name_what_they_show(card, tmp_path: Path, name):
    write([card(torch=TORCH, onnx=ONNX, int8=INT8)], tmp_path)
    text = "".join(ElementTree.parse(tmp_path / name).getroot().itertext())
    assert all(word in text for word in ("torch", "onnx", "int8", "accuracy retention", "× original"))
    assert (tmp_path / name).with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_two_hundred_variants_are_cheap_to_report(card, tmp_path):
    """Half as many seconds of one core are usual; the clock on the wall would tell of other programs too."""
    cards = [card(model=f"m{i}", torch=TORCH, onnx=ONNX, **{f"int8-{j}": INT8 for j in range(10)}) for i in range(20)]
    begin = time.process_time()
    write(cards, tmp_path)
    assert time.process_time() - begin < 5
    assert len(read_cards(tmp_path)) == 20
