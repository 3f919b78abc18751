"""``report.html``: one file that escapes; in a real browser, a click on a header sorts, and the page can be seen."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import matplotlib.image
import pytest

from compress.benchmarks.report.base import write
from tests.support.browser import browse, needs_browser
from tests.support.cards import ONNX, QUANTIZED, TORCH

SIZES = {"torch": 100e6, "onnx": 101e6, "int8": 27e6, "int4": 9e6, "fp16": 50e6}
# What a reader does: clicks, and looks at the names from top to bottom.
LOOK = """
<script>
const click = (text) => [...document.querySelectorAll("th")].find((th) => th.textContent === text).click();
const names = () => [...document.querySelectorAll("td.name")].map((td) => td.textContent).join(" ");
const seen = [names()];
for (const text of CLICKS) { click(text); seen.push(names()); }
document.body.innerHTML = `<pre>${seen.join("\\n")}</pre>`;
</script>
"""


# A window as narrow as a telephone, or as wide as a laptop: where the summary ends, and how wide the page is.
FRAME = """<iframe style="width: WIDTHpx; height: 800px; border: 0"></iframe>
<script>
const frame = document.querySelector("iframe");
frame.onload = () => {
  const inside = frame.contentDocument, table = inside.querySelector(".summary").getBoundingClientRect();
  const ends = [inside.documentElement.scrollWidth, table.left, table.right, table.bottom].map(Math.round);
  document.body.innerHTML = `<pre>${ends.join(" ")}</pre>`;
};
frame.srcdoc = PAGE;
</script>
"""


@pytest.fixture
def page(card, tmp_path):
    rows = {name: {"disk_bytes": size, "retention": 1.0, "decode_tps": [1e9 / size]} for name, size in SIZES.items()}
    rows["fp16"]["kl"] = 0.001
    rows["int8"]["kl"] = 0.0002
    write([card(**rows)], tmp_path)
    return tmp_path / "report.html"


@needs_browser
def test_a_click_on_a_header_sorts(page, tmp_path):
    clicks = ["on disk, MB", "on disk, MB", "variant", "KL to original, nats"]
    looked = page.with_name("looked.html")
    looked.write_text(page.read_text().replace("</body>", LOOK.replace("CLICKS", repr(clicks)) + "</body>"))
    shown = re.search(r"<pre>(.*?)</pre>", browse(tmp_path / "profile", "--dump-dom", looked.as_uri()), re.S)
    assert shown is not None
    original, rising, falling, words, kl = shown.group(1).splitlines()
    assert original == "torch onnx int8 int4 fp16"
    assert rising == "int4 int8 fp16 torch onnx"  # by number: 9 MB before 27 MB, 101 MB last
    assert falling == "onnx torch fp16 int8 int4"
    assert words == "fp16 int4 int8 onnx torch"
    assert kl.startswith("int8 fp16 ")  # those without the figure stay below


@needs_browser
@pytest.mark.parametrize("width", [400, 1280])
def test_size_speed_and_retention_are_seen_without_scrolling(page, tmp_path, width):
    source = json.dumps(page.read_text()).replace("</", "<\\/")
    framed = page.with_name("framed.html")
    framed.write_text(FRAME.replace("WIDTH", str(width)).replace("PAGE", source))
    arguments = ("--virtual-time-budget=5000", "--dump-dom", framed.as_uri())
    shown = re.search(r"<pre>(.*?)</pre>", browse(tmp_path / "profile", *arguments))
    assert shown is not None
    total, left, right, bottom = map(int, shown.group(1).split())
    assert (total, left >= 0, right <= width, bottom <= 800) == (width, True, True, True)


PAPER = """<iframe style="width: 718px; height: 2000px; border: 0"></iframe>
<script>
const frame = document.querySelector("iframe");
frame.onload = () => {
  const inside = frame.contentDocument, all = [...inside.querySelectorAll("body, table, td, tr, figure, svg, p, code")];
  const shown = all.filter((part) => part.getBoundingClientRect().width > 0);
  const light = (part) => {
    const color = frame.contentWindow.getComputedStyle(part).backgroundColor;
    return color.endsWith(", 0)") || color.match(/[0-9]+/g).every((level) => level > 230);
  };
  const cells = [...inside.querySelectorAll(".figures td")];
  const facts = [
    Math.max(...shown.map((part) => Math.ceil(part.getBoundingClientRect().right))), shown.every(light),
    cells.filter((cell) => cell.getBoundingClientRect().height > 0).length, cells.length,
  ];
  document.body.innerHTML = `<pre>${facts.join(" ")}</pre>`;
};
frame.srcdoc = PAGE;
</script>
"""
"""A4 between the browser's margins."""


@needs_browser
def test_a_printed_page_cuts_nothing_off_and_is_white(card, tmp_path):
    figures = {"decode_tps": [10.0, 10.4], "prefill_tps": [59744.0, 23365.0], "disk_bytes": 1e9, "retention": 0.99,
               "ttft": [0.019, 0.02], "peak_rss": [4e9], "kl": 0.001, "perplexity": 17.756, "top1": 0.98,
               (512, 4): {"decode_tps": [20.0, 21.0]}}  # fmt: skip
    names = ["torch", "onnx", "fuse", *(f"int4-group-{group}-solver-learned-fuse" for group in (32, 64, 128))]
    write([card(**{name: dict(figures) for name in names})], tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert text.count("@media print") == 2
    for printed, screen in (("@media print", "@media all"), ("@media (max-width", "@media not all and (max-width")):
        text = text.replace(printed, screen)
    framed = tmp_path / "framed.html"
    framed.write_text(PAPER.replace("PAGE", json.dumps(text).replace("</", "<\\/")))
    arguments = ("--virtual-time-budget=5000", "--dump-dom", framed.as_uri())
    shown = re.search(r"<pre>(.*?)</pre>", browse(tmp_path / "profile", *arguments))
    assert shown is not None
    right, light, visible, cells = shown.group(1).split()
    assert int(right) <= 718
    assert (light, visible) == ("true", cells)


def test_the_summary_compares_with_both_baselines(card, render):
    text = render("html", card(torch=TORCH, onnx=ONNX, int8=QUANTIZED))
    summary = re.search(r'<table class="summary">.*?</table>', text, re.S).group(0)
    assert re.findall(r'role="columnheader".*?>(.*?)<', summary) == [
        "variant",
        "decode, tokens/s",
        "on disk, MB",
        "accuracy retention",
    ]
    assert "<small>5.00× · 2.50×</small>" in summary
    assert "<small>0.27× · 0.27×</small>" in summary
    assert "<p>Below a figure: × torch · × onnx.</p>" in text


@needs_browser
def test_the_page_can_be_seen(page, tmp_path):
    """The picture stays in pytest's temporary directory."""
    picture = tmp_path / "report.png"
    browse(tmp_path / "profile", f"--screenshot={picture}", "--window-size=1400,1600", page.as_uri())
    pixels = matplotlib.image.imread(picture)
    assert pixels.shape[:2] == (1600, 1400)
    for part in (pixels[:400], pixels[500:1400]):  # the table, then the plots
        assert part[..., :3].std() > 0.02


def test_html_is_one_file_and_escapes(card, render):
    text = render("html", card(model="<b>&", torch=TORCH, onnx=ONNX, **{"int8<script>": QUANTIZED}))
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
