"""Tasks of lm-eval: how they are named, what figures they give, and their digest."""

import json

import datasets
import pytest

from compress.benchmarks.data.tasks import figure, read_tasks, split_specs
from compress.checkpoint.model import Model
from compress.errors import UsageError
from tests.support.tasks import task_yaml


@pytest.fixture(scope="module")
def model(tiny):
    return Model.open(str(tiny("LlamaForCausalLM", tie_word_embeddings=True)))


@pytest.fixture
def task(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")

    def write(name, docs, **fields):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, docs)))
        options = {"doc_to_choice": [" fox", " dog"], "doc_to_target": "answer"} | fields
        (tmp_path / f"{name}.yaml").write_text(task_yaml(name, "multiple_choice", f"{name}.jsonl", **options))
        return str(tmp_path / f"{name}.yaml")

    return write


DOCS = [{"text": "the quick brown", "answer": 0}, {"text": "over a lazy", "answer": 1}]


def test_names_and_files_are_split():
    assert split_specs("arc_easy, my/task.yaml") == ("arc_easy", "my/task.yaml")
    with pytest.raises(UsageError, match="'a,,b' has an empty task"):
        split_specs("a,,b")
    with pytest.raises(UsageError, match="task a is given twice"):
        split_specs("a,b,a")


def test_a_figure_is_named_after_its_task_metric_and_filter():
    assert figure("arc_easy", "acc") == "arc_easy.acc"
    assert figure("gsm8k", "exact_match", "strict-match") == "gsm8k.exact_match.strict-match"


def test_tasks_say_what_they_give_and_which_way_is_better(model, task):
    metrics = [
        {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
        {"metric": "brier_score", "aggregation": "brier_score", "higher_is_better": False},
    ]
    tasks = read_tasks([task("one", DOCS), task("two", DOCS[:1], metric_list=metrics)], model)
    assert str(tasks) == "one (2 documents), two (1 documents)"
    assert tasks.better == {"one.acc": "higher", "two.acc": "higher", "two.brier_score": "lower"}


def test_a_digest_knows_documents_and_what_is_made_of_them(model, task):
    digests = {
        read_tasks([task(name, docs, **fields)], model).digest()
        for name, docs, fields in (
            ("one", DOCS, {}), ("one", DOCS[:1], {}), ("one", DOCS, {"doc_to_text": "Q: {{text}}"}), ("two", DOCS, {})
        )
    }  # fmt: skip
    assert len(digests) == 4
    assert read_tasks([task("one", DOCS)], model).digest() in digests


def test_what_can_not_be_used_is_refused(model, task, tmp_path):
    with pytest.raises(UsageError, match="can't read the task file .*no.yaml: there is none"):
        read_tasks([str(tmp_path / "no.yaml")], model)
    with pytest.raises(UsageError, match="task one comes twice; name it once"):
        read_tasks([task("one", DOCS)] * 2, model)


def test_a_file_that_runs_code_is_read_only_where_that_is_accepted(model, task, tmp_path):
    (tmp_path / "utils.py").write_text("def choices(doc):\n    return [' fox', ' dog']\n")
    file = task("mine", DOCS)
    with open(file, "a") as stream:
        stream.write("doc_to_decontamination_query: !function utils.choices\n")
    with pytest.raises(UsageError, match="would run code .*--trust-remote-code"):
        read_tasks([file], model)
    assert str(read_tasks([file], model, trust_remote_code=True)) == "mine (2 documents)"
