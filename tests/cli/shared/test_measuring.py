"""``--labels``: what is measured, and what is refused in one line before any work."""

import json

import pytest

TABLE = "text\tlabel\n" + "".join(f"{text}\t{i % 2}\n" for i, text in enumerate(["a fox", "the dog", "seven"] * 4))


@pytest.fixture(scope="module")
def classifier(tiny):
    return tiny("BertForSequenceClassification", num_labels=2)


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "labels.tsv"
    path.write_text(TABLE)
    return path


def test_every_contender_is_measured_on_labels(classifier, labels, tmp_path, inside):
    out = tmp_path / "out"
    done = inside("run", classifier, "-p", "fuse", "-o", out, "--labels", labels, "--require", "accuracy>=0%")
    assert done.returncode == 0, done.stderr
    card = json.loads((out / "report.json").read_text())
    right = [row["measures"]["accuracy"] for row in card["rows"]]
    assert [row["name"] for row in card["rows"]] == ["torch", "onnx float", "fuse"]
    assert right[0]["value"] == right[1]["value"] == right[2]["value"]
    assert len(right[0]["windows"]) == 12
    assert "labels of labels.tsv, 12 texts, accuracy" in card["notes"]
    assert "accuracy, %" in done.stdout


REFUSED = {
    "another label": (
        ["--labels", "ODD"],
        "ODD, line 2: the head has no label 'maybe'; it has LABEL_0, LABEL_1, or by number 0 to 1",
    ),
    "an empty file": (["--labels", "EMPTY"], "EMPTY holds no labeled text"),
    "no labels": (["--require", "accuracy>=0.9"], "accuracy takes labeled text; give --labels FILE"),
    "other labels": (
        ["--labels", "LABELS", "--require", "spearman>=0.9"],
        "spearman takes labeled text; the labels given say accuracy and accuracy_ratio",
    ),
    "nothing scored": (["--labels", "LABELS", "--no-score"], "--labels is for scoring; remove --no-score"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", REFUSED)
def test_mistakes_cost_no_work(classifier, labels, tmp_path, inside, mistake):
    args, said = REFUSED[mistake]
    odd, empty = tmp_path / "odd.tsv", tmp_path / "empty.jsonl"
    odd.write_text("text\tlabel\na\tmaybe\n")
    empty.write_text("\n")
    files = {"ODD": odd, "EMPTY": empty, "LABELS": labels}
    out = tmp_path / "out"
    done = inside("run", classifier, "-p", "fuse", "-o", out, *(files.get(each, each) for each in args))
    assert done.returncode == 2
    for name, path in files.items():
        said = said.replace(name, str(path)) if name != "LABELS" else said
    assert "".join(done.stderr.split()).endswith("".join(said.split()))
    assert not out.exists()


def test_a_decoder_has_no_labels(llama, labels, tmp_path, inside):
    done = inside("run", llama, "-p", "fuse", "-o", tmp_path / "out", "--labels", labels)
    assert done.returncode == 2
    assert "LlamaForCausalLM writes text; leave it out" in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()
