"""Names that people and attackers give: in every format they are text, and nothing else."""

import csv
import io
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from markdown_it import MarkdownIt

from compress.benchmarks.gate.judge import judge
from compress.benchmarks.gate.junit import write_junit
from compress.benchmarks.gate.requirement import parse_requirements
from compress.benchmarks.report.base import Report
from compress.benchmarks.report.csv import Csv
from compress.benchmarks.report.html import Html
from compress.benchmarks.report.json import Json
from compress.benchmarks.report.latex import Latex
from compress.benchmarks.report.markdown import Markdown, variant_section
from compress.benchmarks.report.plots import PICTURES
from compress.benchmarks.results.report_file import read_card
from compress.checkpoint.writing.license import License
from compress.checkpoint.writing.model_card import card_with_scores, write_card
from compress.cli.console import Console
from compress.cli.shared.gating import enforce
from compress.cli.shared.scores import print_scores
from compress.errors import RequirementError
from compress.escape import encodable, printable
from tests.support.cards import ONNX, QUANTIZED, TORCH, build_card
from tests.support.cli import run_cli
from tests.support.manifests import manifest
from tests.support.names import HOSTILE

CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
OURS = {"<br>", "<code>", "</code>", "<!-- scores -->", "<!-- /scores -->"}


@pytest.fixture(params=HOSTILE, ids=ascii)
def name(request):
    return request.param


def card_of(name):
    """A card that says the name wherever others choose what it says."""
    card = build_card(model=name, processor=name, torch=TORCH, onnx=ONNX, **{f"{name}x": QUANTIZED, "int8": QUANTIZED})
    facts = {"model": name, "command": f"compress {name}", "notes": (name,), "doubts": (name,)}
    text = encodable(name)
    facts |= {"created": text, "seconds": {text: 2.0}, "versions": {text: text}}
    facts |= {"machine": {"processor": name, text: text}}
    rows = [{**row.model_dump(), "recipe": name, "path": name, "passes": ()} for row in card.rows]
    rows[2]["name"] = name
    return type(card).model_validate({**card.model_dump(), **facts, "kind": card.kind.name, "rows": rows})


def words(text):
    """Text without what laying it out may add or take."""
    return "".join(text.split())


def read_markdown(text):
    """The text of a page as its reader sees it; fails where it holds anything but text, code, lists and tables."""
    seen = []
    for token in MARKDOWN.parse(text):
        assert token.type != "html_block" or token.content.strip() in OURS, token.content
        for child in token.children or ():
            assert child.type in {"text", "code_inline", "html_inline", "softbreak", "text_special"}, child
            assert child.type != "html_inline" or child.content in OURS, child.content
            seen.append("" if child.type == "html_inline" else child.content)
        if token.type in ("fence", "code_block"):
            seen.append(token.content)
        seen.append("\n")
    return "".join(seen)


def check_tables(text):
    """Every row of a table has as many cells as its header."""
    columns = 0
    for token in MARKDOWN.parse(text):
        if token.type == "tr_open":
            cells = 0
        elif token.type in ("th_open", "td_open"):
            cells += 1
        elif token.type == "thead_close":
            columns = cells
        elif token.type == "tr_close" and columns:
            assert cells == columns
        elif token.type == "table_close":
            columns = 0


def count_rows(text):
    return sum(token.type == "tr_open" for token in MARKDOWN.parse(text))


def test_markdown(name):
    plain, page = (Markdown().files(Report([card_of(each)]))["report.md"] for each in ("plain", name))
    assert not CONTROLS.search(page)
    assert page.isascii() or page.encode()
    check_tables(page)
    assert count_rows(page) == count_rows(plain)
    read = words(read_markdown(page))
    assert read.count(words(printable(name))) >= words(read_markdown(plain)).count("plain") - 2
    both = Markdown().files(Report([card_of(name), card_of("other")]))["report.md"]
    check_tables(both)
    assert words(printable(name)) in words(read_markdown(both))


def test_model_cards(name, tmp_path):
    facts = manifest(weights={}, layers={}, calibration=name, pipeline=name, recipe=[name])
    facts.source = facts.source.model_copy(update={"name": encodable(name)})
    assert facts.source.title == (encodable(name) if name != "~" else Path.home().name)
    write_card(tmp_path, facts, License({"license": "other", "license_name": name}, None))
    front = re.fullmatch(r"---\n(.*?)\n---\n.*", (tmp_path / "README.md").read_text(), re.S)[1]
    assert yaml.safe_load(front) == {
        "base_model": facts.source.title, "library_name": "transformers", "license": "other", "license_name": name,
    }  # fmt: skip
    ((file, text),) = card_with_scores(tmp_path, variant_section(card_of(name), name)).items()
    assert not CONTROLS.search(text)
    body = text.partition("\n---\n")[2]
    check_tables(body)
    assert words(printable(name)) in words(read_markdown(body))
    file.write_text(text)
    ((_, again),) = card_with_scores(tmp_path, variant_section(card_of(name), name)).items()
    assert again == text


class Page(HTMLParser):
    """Text and tags of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.text = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, tuple(key for key, _ in attributes)))

    def handle_data(self, data):
        self.text.append(data)


def test_html(name, monkeypatch):
    monkeypatch.setattr("compress.benchmarks.report.html.PICTURES", {})  # they have a test of their own
    pages = [Page(), Page()]
    for page, each in zip(pages, ("plain", name), strict=True):
        text = Html().files(Report([card_of(each)]))["report.html"]
        assert not CONTROLS.search(text)
        page.feed(text)
    assert pages[0].tags == pages[1].tags
    assert words(printable(name)) in words("".join(pages[1].text))


def test_csv(name):
    rows = list(csv.DictReader(io.StringIO(Csv().files(Report([card_of(name)]))["report.csv"])))
    assert len(rows) == 4
    for row in rows:
        assert None not in row
        assert not any(cell.startswith(("=", "+", "-", "@", "\t")) for cell in row.values())
        assert row["model"].removeprefix("'") == printable(name).removeprefix("'")


def test_json(name, tmp_path):
    card = card_of(name)
    (tmp_path / "report.json").write_text(Json().files(Report([card]))["report.json"])
    assert read_card(tmp_path) == card
    assert read_card(tmp_path).model == encodable(name)


def test_latex(name):
    """Without a TeX at hand: letters of ASCII only, balanced braces, no paragraph, comment or command of the name's."""
    plain, tex = (Latex().files(Report([card_of(each)]))["report.tex"] for each in ("plain", name))
    assert tex.isascii()
    assert "\n\n" not in tex.strip()
    bare = re.sub(r"\\[\\{}%$#&_]", "", tex)
    depth = 0
    for letter in bare:
        depth += (letter == "{") - (letter == "}")
        assert depth >= 0
    assert depth == 0
    assert bare.count("$") % 2 == 0
    lines, expected = tex.splitlines(), plain.splitlines()
    assert len(lines) == len(expected)
    assert [line.count(" & ") for line in lines] == [line.count(" & ") for line in expected]
    assert re.search(r"(?<!\\)%", "\n".join(lines[1:])) is None
    assert not {"\\input", "\\frac", "\\end{tabular}}"} & set(re.findall(r"\\[a-z]+(?:\{tabular\}\})?", tex))


@pytest.mark.parametrize("part", range(0, len(HOSTILE), 12))
def test_pictures(part):
    """Pictures of runs of these names are well-formed, and show as much of them as there is room for."""
    names = HOSTILE[part : part + 12]
    drawn = Report([card_of(name) for name in names]).picture(PICTURES["accuracy-size"], "svg")
    texts = [words("".join(element.itertext())) for element in ElementTree.fromstring(drawn).iter() if element.text]
    for name in names:
        short = printable(name)
        assert any(words(short[:18]) in text for text in texts), name


def test_junit(name, tmp_path):
    verdicts = judge(card_of(name), parse_requirements(["disk_bytes<=1B"]))
    write_junit(verdicts, tmp_path / "gate.xml")
    root = ElementTree.parse(tmp_path / "gate.xml").getroot()
    assert root[0][0].get("classname") == printable(name)
    assert root[0].get("name") == printable(f"{encodable(name)} {encodable(name)}")


def test_terminal(name, capsys):
    """No control gets to a terminal, whatever prints the name."""
    console, card = Console(), card_of(name)
    print_scores(card, Path("out"), console)
    console.notice(name)
    console.say(name)
    console.line(name)
    console.show([name], [[name]])
    with console.status(name):
        assert list(console.track([1], name)) == [1]
    captured = capsys.readouterr()
    assert not CONTROLS.search(captured.out + captured.err)
    assert words(printable(name))[:100] in words(captured.err)
    assert not any(line.strip().startswith("::") for line in (captured.out + captured.err).splitlines())


def test_github(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    verdicts = judge(card_of(name), parse_requirements(["disk_bytes<=1B"]))
    with pytest.raises(RequirementError):
        enforce(verdicts, False, Console(), [name])
    commands = [line for line in capsys.readouterr().out.splitlines() if line.startswith("::")]
    assert [line.partition(" ")[0] for line in commands] == ["::error"] * 2 + ["::warning"]
    text = (tmp_path / "summary.md").read_text()
    assert not CONTROLS.search(text)
    check_tables(text)
    assert count_rows(text) == 3
    assert words(printable(name)) in words(read_markdown(text))


@pytest.mark.slow
def test_a_variant_of_a_model_of_such_a_name(llama, tmp_path):
    name = "my: `model` #1 <b>|\\|$x$\x1b[31m\n🤖=cmd()"
    model = shutil.copytree(llama, tmp_path / name)
    made = run_cli("run", model, "-p", "fp16", "-o", tmp_path / "out", "--no-score")
    assert made.returncode == 0, made.stderr
    card = (tmp_path / "out" / "fp16" / "README.md").read_text()
    assert yaml.safe_load(card.split("---\n")[1])["base_model"] == name
    assert words(printable(name)) in words(read_markdown(card.split("---\n", 2)[2].partition("## Loading")[0]))
    held = run_cli("verify", tmp_path / "out" / "fp16")
    assert (held.returncode, held.stdout.count("\n")) == (0, 1)
    assert not CONTROLS.search(held.stdout + made.stderr)
    refused = run_cli("run", tmp_path / f"{name}x", "-p", "fp16", "-o", tmp_path / "other")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (3, 1)
    assert not CONTROLS.search(refused.stderr)
