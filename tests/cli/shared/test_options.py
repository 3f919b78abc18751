"""Options that several commands share: ``--tasks`` and ``--labels``, refused or measured; sizes of files."""

import json
import os
import shutil
from pathlib import Path

import click
import pytest

from compress.cli.shared.options import FilePath, max_shard_size, threads
from compress.system import cores
from tests.support.tasks import task_yaml

CHOICE = {"doc_to_choice": [" fox", " dog"], "doc_to_target": "answer"}
WRITING = {"metrics": ("exact_match",), "doc_to_target": " fox"}
TABLE = "text\tlabel\n" + "".join(f"{text}\t{i % 2}\n" for i, text in enumerate(["a fox", "the dog", "seven"] * 4))


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    try:
        import datasets
    except ModuleNotFoundError:
        return
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def folder(tmp_path):
    docs = [{"text": f"the {word}", "answer": i % 2} for i, word in enumerate(["quick", "lazy", "brown", "a"])]
    (tmp_path / "letters.jsonl").write_text("\n".join(map(json.dumps, docs)))
    sampled = {"generation_kwargs": {"do_sample": True, "max_gen_toks": 4}}
    files = {
        "letters": task_yaml("letters", "multiple_choice", "letters.jsonl", **CHOICE),
        "long": task_yaml("writing", "generate_until", "letters.jsonl", **WRITING),
        "drawn": task_yaml("writing", "generate_until", "letters.jsonl", **WRITING, **sampled),
        "empty": task_yaml("letters", "multiple_choice", "empty.jsonl", **CHOICE),
    }
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "list.yaml").write_text("- a\n")
    return tmp_path


def test_without_lm_eval_the_extra_is_named(llama, tmp_path, inside, monkeypatch):
    monkeypatch.setattr("compress.benchmarks.data.tasks.find_spec", lambda name: None)
    done = inside("run", llama, "-p", "fuse", "-o", tmp_path / "out", "--tasks", "arc_easy")
    assert done.returncode == 5
    assert " ".join(done.stderr.split()).endswith("--tasks needs lm-eval: pip install 'compress-models[eval]'")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--tasks", "a,,b"], "'a,,b' has an empty task; write them like arc_easy,my/task.yaml"),
        (["--tasks", "a,a"], "task a is given twice"),
        (["--require", "arc_easy.acc>=0.3"], "arc_easy.acc is a task's; give --tasks arc_easy"),
    ],
)
def test_mistakes_in_the_options(llama, tmp_path, inside, args, message):
    done = inside("run", llama, "-p", "fuse", "-o", tmp_path / "out", *args)
    assert done.returncode == 2
    assert " ".join(done.stderr.split()).endswith(message)
    assert not (tmp_path / "out").exists()


REFUSED = {
    "no such file": ("no.yaml", [], "can't read the task file no.yaml: there is none"),
    "no task": ("list.yaml", [], "task list.yaml can't be loaded (ValueError: Expected YAML dict"),
    "no documents": ("empty.yaml", [], "task empty.yaml can't be loaded ("),
    "too long": ("long.yaml", [], "task writing may write 256 tokens, and"),
    "sampling": ("drawn.yaml", [], "task writing samples or searches with beams"),
    "nothing scored": ("letters.yaml", ["--no-score"], "--tasks is for scoring; remove --no-score"),
    "a typo": (
        "letters.yaml",
        ["--require", "letters.ac>=0.1"],
        "unknown metric of a task 'letters.ac'; did you mean 'letters.acc'?",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_mistakes_cost_no_work(llama, folder, inside, monkeypatch, mistake):
    monkeypatch.chdir(folder)
    file, args, message = REFUSED[mistake]
    done = inside("run", llama, "-p", "fuse", "-o", "out", "--tasks", file, *args)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert message in done.stderr
    assert not (folder / "out").exists()


def test_an_encoder_has_no_tasks(bert, folder, inside):
    done = inside("run", bert, "-p", "fuse", "-o", folder / "out", "--tasks", folder / "letters.yaml")
    assert done.returncode == 2
    assert "is of the kind encoder; leave it out" in " ".join(done.stderr.split())


def test_an_unknown_task_is_told_with_the_nearest_names(llama, folder, inside, monkeypatch):
    manager = pytest.importorskip("lm_eval.tasks.manager")
    tasks = Path(manager.__file__).parent
    shutil.copytree(tasks / "arc", folder / "tasks" / "arc")  # all of its thousands take half a minute to read
    monkeypatch.setattr(manager, "__file__", str(folder / "tasks" / "manager.py"))
    done = inside("run", llama, "-p", "fuse", "-o", folder / "out", "--tasks", "arc_esy")
    assert done.returncode == 2
    assert "lm-eval has no task 'arc_esy'; nearest: arc_easy, " in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_every_contender_is_measured_and_every_report_tells(llama, folder, inside):
    out = folder / "out"
    options = ["--tasks", folder / "letters.yaml", "--require", "letters.acc>=0"]
    done = inside("run", llama, "-p", "fuse", "-o", out, *options)
    assert done.returncode == 0, done.stderr
    card = json.loads((out / "report.json").read_text())
    right = [row["measures"]["letters.acc"] for row in card["rows"]]
    assert len(right) == 3
    assert right[0] == right[1] == right[2]
    assert len(right[0]["windows"]) == 4
    assert card["tasks"] == {"letters.acc": "higher"}
    assert "tasks letters (4 documents)" in card["notes"]
    assert "letters.acc" in done.stdout
    for name in ("md", "html", "csv", "long.tex"):
        assert "letters.acc" in (out / f"report.{name}").read_text().replace("\\", "")
    again = inside("score", out / "fuse", "--tasks", folder / "letters.yaml", "-o", out)
    assert again.returncode == 0, again.stderr
    assert json.loads((out / "report.json").read_text())["rows"][2]["measures"]["letters.acc"] == right[2]


@pytest.fixture(scope="module")
def classifier(tiny):
    return tiny("BertForSequenceClassification", num_labels=2)


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "labels.tsv"
    path.write_text(TABLE)
    return path


@pytest.mark.slow
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


LABELS_REFUSED = {
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


@pytest.mark.parametrize("mistake", LABELS_REFUSED)
def test_mistakes_in_labels_cost_no_work(classifier, labels, tmp_path, inside, mistake):
    args, message = LABELS_REFUSED[mistake]
    malformed, empty = tmp_path / "odd.tsv", tmp_path / "empty.jsonl"
    malformed.write_text("text\tlabel\na\tmaybe\n")
    empty.write_text("\n")
    files = {"ODD": malformed, "EMPTY": empty, "LABELS": labels}
    out = tmp_path / "out"
    done = inside("run", classifier, "-p", "fuse", "-o", out, *(files.get(argument, argument) for argument in args))
    assert done.returncode == 2
    for name, path in files.items():
        message = message.replace(name, str(path)) if name != "LABELS" else message
    assert "".join(done.stderr.split()).endswith("".join(message.split()))
    assert not out.exists()


def test_a_decoder_has_no_labels(llama, labels, tmp_path, inside):
    done = inside("run", llama, "-p", "fuse", "-o", tmp_path / "out", "--labels", labels)
    assert done.returncode == 2
    assert "LlamaForCausalLM writes text; leave it out" in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("text", "size"), [("2GB", 2 * 10**9), ("500MiB", 500 << 20), ("1KB", 1000)])
def test_a_size_is_read_as_transformers_writes_it(text, size):
    sizes = []
    command = click.command()(max_shard_size(lambda shard_bytes: sizes.append(shard_bytes)))
    command.main(["--max-shard-size", text], standalone_mode=False)
    command.main([], standalone_mode=False)
    assert sizes == [size, None]


@pytest.mark.parametrize("text", ["2 parsec", "0GB", "-1KB"])
def test_what_is_no_size_is_refused(text):
    command = click.command()(max_shard_size(lambda shard_bytes: None))
    with pytest.raises(click.BadParameter, match=f"'{text}' is not a size; write it like 2GB or 500MiB"):
        command.main([f"--max-shard-size={text}"], standalone_mode=False)


def test_a_path_begins_with_the_home_folder_where_a_shell_left_a_tilde(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert FilePath().convert("~/out", None, None) == Path("/home/me/out")
    assert FilePath().convert("out/~x", None, None) == Path("out/~x")


def test_threads_are_refused_where_a_machine_has_no_use_for_them(monkeypatch):
    monkeypatch.setattr(cores, "available_cores", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    counts = []
    command = click.command()(threads(lambda threads: counts.append((threads, os.environ["OMP_NUM_THREADS"]))))
    command.main([], standalone_mode=False)
    with pytest.raises(click.BadParameter, match="17 is too many for this machine; give 16 at most"):
        command.main(["--threads", "17"], standalone_mode=False)
    command.main(["--threads", "1"], standalone_mode=False)
    assert counts == [(None, "3"), (1, "1")]
