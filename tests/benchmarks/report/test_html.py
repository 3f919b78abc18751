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
