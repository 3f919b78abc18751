"""``compress gate`` as a CI job meets it: exit codes, the table, and what GitHub Actions shows."""

from xml.etree import ElementTree

import pytest

from compress.benchmarks.results.report_file import read_card, report_text
from tests.support import cards

BASE = cards.BASE | {"retention": (1.0, 1.0, 1.0)}
INT8 = cards.INT8 | {"retention": (0.97, 0.98, 0.99)}
LATER = INT8 | {"decode_tps": [16.0, 16.6, 15.4, 16.3, 15.7]}


@pytest.fixture
def reports(card, tmp_path, monkeypatch):
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    for name, row in {"last": INT8, "now": LATER}.items():
        run = card(torch=BASE, onnx=BASE, text="abc", **{"int8,fuse": row})
        (tmp_path / f"{name}.json").write_text(report_text([run]))
    return tmp_path / "now.json", tmp_path / "last.json"


def test_what_is_met_opens_the_gate(reports, inside):
    done = inside("gate", reports[0], "--require", "bytes<=0.3x, decode_speedup>=1.5", "--require", "retention>=90%")
    assert (done.returncode, done.stdout, done.stderr) == (0, "gate: 3 passed\n", "")


def test_what_is_missed_is_shown_with_its_distance(reports, inside):
    done = inside("gate", reports[0], "--require", "bytes<=0.3x, decode_speedup>=2, disk_bytes<25MB")
    assert done.returncode == 1
    first, second = (line for line in done.stdout.splitlines() if "failed" in line and "int8,fuse" in line)
    assert [cell.strip() for cell in first.split("│")[1:-1]] == [
        "int8,fuse", "decode_speedup>=2", "1.6×", "failed", "missed by 20.00%",
    ]  # fmt: skip
    assert "30.0 MB" in second
    assert done.stdout.endswith("gate: 2 failed, 1 passed\n")
    assert done.stderr == (
        "compress: requirement not met: int8,fuse: decode_speedup>=2: 1.6× (missed by 20.00%) (and 1 more)\n"
    )


def test_noise_fails_only_when_strict(reports, inside, tmp_path):
    file = tmp_path / "ci" / "results" / "gate.xml"
    args = ("gate", reports[0], "--require", "retention>=0.975", "--junit", file)
    done = inside(*args)
    assert done.returncode == 0
    assert "inconclusive" in done.stdout
    assert ElementTree.parse(file).getroot().get("skipped") == "1"
    done = inside(*args, "--strict")
    assert done.returncode == 1
    assert "inside the noise" in done.stderr
    assert ElementTree.parse(file).getroot().get("failures") == "1"


def test_an_earlier_report_is_the_measure(reports, inside):
    now, last = reports
    tolerance = ("--tolerance", "decode_speedup=5%, retention=0%, bytes=0%")
    done = inside("gate", now, "--baseline", last, *tolerance)
    assert done.returncode == 1
    assert "decode_speedup at most 5% worse: 1.6×, was 2× (-20.00%)" in done.stderr
    assert inside("gate", last, "--baseline", now, *tolerance).returncode == 0
    assert inside("gate", last, "--baseline", last, *tolerance).stdout == "gate: 3 passed\n"


def test_a_baseline_of_another_model_is_refused(card, reports, inside):
    now, last = reports
    last.write_text(report_text([read_card(last).model_copy(update={"model": "other"})]))
    done = inside("gate", now, "--baseline", last, "--tolerance", "bytes=1%")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "compress: the baseline is a report of other, not of tiny; name a report of the same model, or pass "
        "--any-model to compare all the same\n"
    )
    done = inside("gate", now, "--baseline", last, "--tolerance", "bytes=1%", "--any-model")
    assert (done.returncode, done.stdout) == (0, "gate: 1 passed\n")
    assert "note: the baseline is a report of other, not of tiny\n" in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"value": 30000000.0', '"value": -1', "says disk_bytes of int8,fuse is -1, which no measurement gives"),
        ('"value": 30000000.0', '"value": NaN', "says disk_bytes of int8,fuse is nan, which no measurement gives"),
        ('"value": 30000000.0', '"value": 1e999', "says disk_bytes of int8,fuse is inf, which no measurement gives"),
        ('"name": "onnx"', '"name": "int8,fuse"', "has two rows called 'int8,fuse', which no measurement gives"),
        ('"value": 30000000.0', '"value": 1, "value": 2', "is no JSON ('value' is in it twice)"),
    ],
)
def test_a_report_with_what_no_measurement_gives_is_refused(reports, inside, old, new, message):
    text = reports[0].read_text()
    assert old in text
    reports[0].write_text(text.replace(old, new))
    done = inside("gate", reports[0], "--require", "bytes<=0.3x")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"compress: {reports[0]} {message}; " in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_doubts_about_the_data_are_told(reports, inside):
    card = read_card(reports[0]).model_copy(update={"doubts": ("the text is another language's",)})
    reports[0].write_text(report_text([card]))
    done = inside("gate", reports[0], "--require", "retention>=0.9")
    assert done.stderr == "note: DOUBTFUL accuracy: the text is another language's; give other data with --eval\n"


def test_github_gets_annotations_and_a_summary(reports, inside, tmp_path, monkeypatch):
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    done = inside("gate", reports[0], "--require", "bytes<=0.3x, decode_tps>=20, retention>=0.975")
    lines = [line for line in done.stdout.splitlines() if line.startswith("::")]
    assert lines == [
        "::error title=compress gate::int8,fuse: decode_tps>=20: 16.0 ± 0.3 tokens/s (missed by 20.00%25)",
        "::warning title=compress gate::int8,fuse: retention>=0.975: 0.9800 ± 0.0058 "
        "(met by 0.51%25, which is inside the noise; some 18 evaluation windows would decide)",
    ]
    text = summary.read_text()
    assert text.startswith("before\n### compress gate\n")
    assert "| ✅ | int8,fuse | `bytes<=0.3x` | 0.3× | passed |" in text
    assert "| ❌ | int8,fuse | `decode_tps>=20` | 16.0 ± 0.3 tokens/s | missed by 20.00% |" in text


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "nothing to check"),
        (["--require", "retnetion>=1"], "did you mean 'retention'?"),
        (["--require", "kl<=1"], "no variant of tiny has kl; measured were decode_tps, disk_bytes, retention"),
        (["--require", "cosine>=1"], "cosine is no metric of decoders"),
        (["--require", "kl<1,kl>2"], "nothing can meet both"),
        (["--require", "bytes<=1x", "--variant", "int8"], "unknown variant 'int8'; did you mean 'int8,fuse'?"),
        (["--baseline", "LAST"], "belong together"),
        (["--tolerance", "kl=1%"], "belong together"),
        (["--require", "bytes<=0.3x", "--junit", "/proc/nowhere/gate.xml"], "can't write to /proc"),
        (["--require", "bytes<=0.3x", "--junit", "LAST/gate.xml"], "last.json is no directory; name another file"),
        (["--require", "bytes<=0.3x", "--junit", "/tmp"], "/tmp is a directory; name a file"),
        (
            ["--require", "bytes<=0.3x", "--junit", "NOW"],
            "is no JUnit XML, so it is not replaced",
        ),
        (["--baseline", "/nowhere.json", "--tolerance", "bytes=1%"], "/nowhere.json"),
    ],
)
def test_a_mistake_is_told_in_one_line(reports, inside, args, message):
    names = {"NOW": str(reports[0]), "LAST": str(reports[1]), "LAST/gate.xml": f"{reports[1]}/gate.xml"}
    done = inside("gate", reports[0], *(names.get(arg, arg) for arg in args))
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
