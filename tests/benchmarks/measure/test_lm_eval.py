"""lm-eval's tasks, from files made on the spot, answered by every contender's own runtime."""

import json

import datasets
import pytest
from lm_eval import evaluate
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM, AutoTokenizer

from compress.benchmarks.data.tasks import read_tasks, silence_lm_eval
from compress.benchmarks.measure.lm_eval import TaskModel, measure_tasks
from compress.benchmarks.results.contender import Contender
from compress.benchmarks.worker.client import Worker
from compress.checkpoint.model import Model
from compress.export.targets.base import find_target
from compress.progress import Silent
from tests.support.models import copy_checkpoint, frame_texts
from tests.support.tasks import task_yaml
from tests.support.workers import FakeWorker

TEXT = "the quick brown fox jumps over a lazy dog while seven wizards box daily with jugs of quartz liquor"
WORDS = TEXT.split()
TASKS = {
    "choice": task_yaml(
        "choice", "multiple_choice", "choice.jsonl", ("acc", "acc_norm"),
        doc_to_choice="{{choices}}", doc_to_target="answer",
    ),
    "writing": task_yaml(
        "writing", "generate_until", "writing.csv", ("exact_match",),
        doc_to_target="{{answer}}", generation_kwargs={"until": ["b", "</s>"], "max_gen_toks": 12},
    ),
    "rolling": task_yaml(
        "rolling", "loglikelihood_rolling", "choice.jsonl", doc_to_text="", doc_to_target="{{long}}",
        metric_list=[{"metric": "bits_per_byte", "aggregation": "bits_per_byte", "higher_is_better": False}],
    ),
}  # fmt: skip
FIGURES = ["choice.acc", "choice.acc_norm", "writing.exact_match", "rolling.bits_per_byte"]


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory):
    datasets.config.HF_DATASETS_CACHE = tmp_path_factory.mktemp("datasets")


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """A folder with the three tasks and their documents."""
    folder = tmp_path_factory.mktemp("tasks")
    docs = [
        {
            "text": " ".join(WORDS[i : i + 4]) if i else "",
            "choices": [" A", " B", f" {WORDS[i]} {WORDS[-i]}", WORDS[-i - 1]],
            "answer": i % 4,
            "long": " ".join(WORDS[i:] * 12),
        }
        for i in range(12)
    ]
    (folder / "choice.jsonl").write_text("\n".join(map(json.dumps, docs)))
    lines = [f"{' '.join(WORDS[i : i + 3])},{WORDS[-i]}" for i in range(8)]
    (folder / "writing.csv").write_text("\n".join(["text,answer", *lines]))
    for name, text in TASKS.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tiny):
    return tiny("LlamaForCausalLM", tie_word_embeddings=True)


@pytest.fixture(scope="module")
def model(checkpoint):
    return Model.open(str(checkpoint))


@pytest.fixture(scope="module")
def tasks(files, model):
    return read_tasks([str(files / f"{name}.yaml") for name in ("choice", "writing", "rolling")], model)


@pytest.fixture(scope="module")
def theirs(checkpoint):
    """lm-eval's own model, in transformers."""
    module, words = AutoModelForCausalLM.from_pretrained(checkpoint).eval(), AutoTokenizer.from_pretrained(checkpoint)
    with silence_lm_eval():
        return HFLM(pretrained=module, tokenizer=words, batch_size=1)


@pytest.fixture(scope="module")
def reference(theirs, tasks):
    """What lm-eval gives of it."""
    for task in tasks.loaded["tasks"].values():
        task.set_config(key="num_fewshot", value=0)
    with silence_lm_eval():
        return evaluate(lm=theirs, task_dict=tasks.loaded, bootstrap_iters=1000)


@pytest.fixture(scope="module")
def workers(model, tmp_path_factory):
    exported = find_target("ort-cpu").export(model, (), tmp_path_factory.mktemp("float"), Silent())
    original, plain = (
        Contender.of_checkpoint(model, model.parameters),
        Contender.of_artifact(exported, "onnx float", "", "float"),
    )
    with Worker(original, 1) as worker, Worker(plain, 1) as other:
        yield worker, other


@pytest.mark.slow
def test_figures_are_those_of_lm_evals_own_model(workers, tasks, reference):
    """Of the original and of its float export alike."""
    for measures in measure_tasks(workers, tasks, Silent()):
        assert list(measures) == list(tasks.better) == FIGURES
        for key in FIGURES[:-1]:
            task, metric = key.split(".")
            result, samples = reference["results"][task], reference["samples"][task]
            assert measures[key].value == result[f"{metric},none"]
            assert measures[key].spread == result[f"{metric}_stderr,none"]
            assert measures[key].windows == tuple(sample[metric] for sample in samples)
        bits = reference["results"]["rolling"]["bits_per_byte,none"]
        assert measures["rolling.bits_per_byte"].value == pytest.approx(bits, rel=1e-6)
    assert 0 < measures["choice.acc"].value < 1
    assert measures["choice.acc"].value != measures["choice.acc_norm"].value
    assert tasks.better["rolling.bits_per_byte"] == "lower"


@pytest.mark.slow
def test_answers_are_those_of_lm_evals_own_model(workers, model, tasks, theirs, reference):
    """The very texts that are written, and every choice's likelihood."""
    requests = {name: task.instances for name, task in tasks.loaded["tasks"].items()}
    with silence_lm_eval():
        texts, likely = theirs.generate_until(requests["writing"]), theirs.loglikelihood(requests["choice"])
    assert len({len(text) for text in texts}) > 2  # some end early
    for worker in workers:
        mine = TaskModel(worker, model, Silent())
        assert mine.generate_until(requests["writing"]) == texts
        values, greedy = zip(*mine.loglikelihood(requests["choice"]), strict=True)
        assert values == pytest.approx([value for value, _ in likely], rel=1e-4)
        assert list(greedy) == [is_greedy for _, is_greedy in likely]


@pytest.mark.parametrize("template", ["<s> $A", "<s> $A </s>", "$A"])
def test_tokens_begin_as_those_of_lm_evals_own_model(checkpoint, tmp_path, template):
    path = frame_texts(copy_checkpoint(checkpoint, tmp_path / "model"), template)
    module, words = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    with silence_lm_eval():
        theirs = HFLM(pretrained=module, tokenizer=words, batch_size=1)
    ours = TaskModel(FakeWorker(lambda request: None), Model.open(path), Silent())
    for text in ("", "the quick", "<s>the quick"):
        assert ours.tok_encode(text) == theirs.tok_encode(text)
    assert ours._encode_pair("the quick ", "brown") == theirs._encode_pair("the quick ", "brown")
    assert ours.prefix_token_id == theirs.prefix_token_id
