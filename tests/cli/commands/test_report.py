"""``compress report``: several runs, one report; what is no report is told in a line."""

import json

import pytest

from compress.benchmarks.results.report_file import read_cards, report_text

FIGURES = {"decode_tps": [10.0, 11.0], "disk_bytes": 100e6, "retention": 1.0}


@pytest.fixture
def runs(card, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        run = card(model=name, torch=FIGURES, onnx=FIGURES, int8=FIGURES)
        (tmp_path / name / "report.json").write_text(report_text([run]))
    return tmp_path / "one", tmp_path / "two" / "report.json"


def test_runs_are_merged(runs, inside, tmp_path):
    out = tmp_path / "both"
    done = inside("report", *runs, runs[0], "-o", out)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"report of 2 runs, 6 contenders: {out / 'report.md'}\n"
    assert [card.model for card in read_cards(out)] == ["one", "two"]
    assert {"report.html", "report.csv", "report.tex"} <= {file.name for file in out.iterdir()}
    assert inside("report", out, "-o", out).returncode == 2
    assert inside("report", out, "-o", out, "--overwrite").returncode == 0
    assert len(read_cards(out)) == 2


def test_one_run_is_told_as_one(runs, inside, tmp_path):
    out = tmp_path / "deep" / "ü x"
    assert inside("report", runs[0], "-o", out).stderr == f"report of 1 run, 3 contenders: {out / 'report.md'}\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "can't read"),
        ("nonsense", "is no JSON"),
        ('{"a": 1}', "is no report of compress"),
        ('{"schema_version": 7}', "has schema version 7, and this compress reads 1"),
    ],
)
def test_a_bad_file_among_good_ones_is_told_in_one_line(runs, inside, tmp_path, content, message):
    broken = tmp_path / "odd.json"
    if content is not None:
        broken.write_text(content)
    done = inside("report", runs[0], broken, "-o", tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert str(broken) in done.stderr
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_variants_are_never_overwritten(runs, inside):
    (runs[0] / "int8").mkdir()
    done = inside("report", runs[1], "-o", runs[0], "--overwrite")
    assert done.returncode == 2
    assert "contains int8, which is not part of a report" in done.stderr
    assert json.loads((runs[0] / "report.json").read_text())["model"] == "one"


def test_nothing_to_merge_is_a_usage_error(inside):
    assert inside("report", "-o", "x").returncode == 2
