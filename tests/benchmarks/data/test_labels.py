"""Files of labeled text: what is read of them, and what is refused before any work."""

import json
from functools import cache

import numpy as np
import pytest

from compress.benchmarks.data.labels import ACCURACY, SPEARMAN, UNLABELED, read_labeled
from compress.checkpoint.model import Model
from compress.errors import UsageError

NAMES = {0: "bad", 1: "so so", 2: "1"}


@pytest.fixture(scope="module")
def opened(tiny):
    """``opened(class, options)``: a tiny model."""

    @cache
    def make(name, labels=3, problem=None):
        named = {"id2label": NAMES if labels == 3 else {0: "x"}} if "For" in name and "Causal" not in name else {}
        return Model.open(str(tiny(name, problem_type=problem, **named)))

    return make


@pytest.fixture
def written(tmp_path):
    def write(text, name="labels.tsv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


CLASSIFIER = "BertForSequenceClassification"


def test_a_table_for_a_classifier(opened, written):
    model = opened(CLASSIFIER)
    labeled = read_labeled(written('\ufefflabel\ttext\r\nbad\tthe lazy dog "and\r\n2\ta fox\r\n1\ta\n'), model)
    assert labeled.metrics == ACCURACY
    assert labeled.labels == ((2,), (2,), (0,))  # a name goes before a number, and the shortest text first
    words = [model.tokenizer().decode(text.ids).strip() for (text,) in labeled.texts]
    assert words == ["a", "a fox", 'the lazy dog "and']
    assert str(labeled) == "labels.tsv, 3 texts, accuracy"


@pytest.mark.parametrize(
    ("name", "input_names", "paired"),
    [
        (CLASSIFIER, ["token_type_ids"], True),
        (CLASSIFIER, [], False),
        ("DistilBertForSequenceClassification", ["token_type_ids"], False),
    ],
)
def test_a_pairs_texts_are_told_apart_where_model_and_tokenizer_do(tiny, written, name, input_names, paired):
    model = Model.open(str(tiny(name, id2label=NAMES)))
    model.tokenizer().model_input_names = ["input_ids", "attention_mask", *input_names]
    ((text,),) = read_labeled(written("text\ttext_pair\tlabel\nthe fox\ta dog\tbad\n"), model).texts
    first = len(model.tokenizer()("the fox")["input_ids"])
    assert text.token_types == [0] * first + [int(paired)] * (len(text.ids) - first)
    assert 0 < first < len(text.ids)


def test_words_have_their_class_on_their_first_token(opened, written):
    model = opened("BertForTokenClassification")
    lines = [{"tokens": ["quixotic", "fox", "qqq"], "labels": ["bad", 1, "so so"]}]
    labeled = read_labeled(written("\n".join(map(json.dumps, lines)), "words.jsonl"), model)
    ((text,),), (labels,) = labeled.texts, labeled.labels
    first = {0: 0, len(model.tokenizer()("quixotic")["input_ids"]): 2}
    first[len(model.tokenizer()("quixotic fox")["input_ids"])] = 1
    assert len(text.ids) > 3
    assert labels == tuple(first.get(i, UNLABELED) for i in range(len(text.ids)))


def test_scores_for_embeddings_and_for_a_single_logit(opened, written):
    path = written("text\ttext2\tscore\na\tthe lazy fox\t1\nthe dog\tb\t2.5\na fox jumps\ta\t-1e1\n")
    labeled = read_labeled(path, opened("BertModel"))
    assert (labeled.metrics, labeled.labels) == (SPEARMAN, ((2.5,), (1.0,), (-10.0,)))
    assert [len(texts) for texts in labeled.texts] == [2, 2, 2]
    padded = labeled.batch(slice(0, 3), 1)
    assert np.shape(padded.ids) == np.shape(padded.mask) == np.shape(padded.token_types)
    assert [sum(row) for row in padded.mask] == [len(texts[1].ids) for texts in labeled.texts]
    assert padded.ids[0][-1] == 2  # the padding token
    alone = read_labeled(path, opened(CLASSIFIER, labels=1))
    assert (alone.metrics, [len(texts) for texts in alone.texts]) == (SPEARMAN, [1, 1, 1])


def test_long_texts_are_cut(opened, written):
    model, words = opened(CLASSIFIER), "the quick brown fox " * 200
    ((text,),) = read_labeled(written(f"text\tlabel\n{words}\tbad\n"), model).texts
    assert list(text.ids) == model.tokenizer()(words.strip())["input_ids"][:128]


def test_a_digest_knows_the_labels(opened, written):
    model = opened(CLASSIFIER)
    first, other = (read_labeled(written(f"text\tlabel\na fox\t{label}\n"), model) for label in ("bad", "so so"))
    assert first.tokens().tobytes() != other.tokens().tobytes()


MISTAKES = {
    "empty": (CLASSIFIER, "", r"labels.tsv holds no labeled text$"),
    "a header alone": (CLASSIFIER, "text\tlabel\n", r"labels.tsv holds no labeled text$"),
    "a column missing": (
        CLASSIFIER,
        "text\tscore\na\t1\n",
        r"no column label in its first line, but 'text', 'score'; needed are text, label, with tabs between",
    ),
    "another table": (CLASSIFIER, "text,label\na,1\n", r"no column text in its first line, but 'text,label'"),
    "a cell too many": (CLASSIFIER, "text\tlabel\na\tb\tbad\n", r"line 2: 3 columns, but the first line names 2"),
    "an unknown label": (
        CLASSIFIER,
        "text\tlabel\na\tbad\n\nb\tgood\n",
        r"line 4: the head has no label 'good'; it has bad, so so, 1, or by number 0 to 2",
    ),
    "a number too large": (CLASSIFIER, "text\tlabel\na\t3\n", r"line 2: the head has no label '3'"),
    "no text": (CLASSIFIER, "text\tlabel\n \tbad\n", r"line 2: text holds no text"),
    "no number": ("BertModel", "text\ttext2\tscore\na\tb\tnan\n", r"line 2: score 'nan' is no number"),
    "too few": ("BertModel", "text\ttext2\tscore\na\tb\t1\na\tc\t2\n", r"a correlation takes 3 lines"),
    "all alike": ("BertModel", "text\ttext2\tscore\na\tb\t1\na\tc\t1\na\td\t1\n", r"scores that differ"),
    "a decoder": ("LlamaForCausalLM", "text\tlabel\na\t1\n", r"LlamaForCausalLM writes text; leave it out"),
    "a table of words": ("BertForTokenClassification", "text\tlabel\na\t1\n", r"no column tokens"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_with_their_line(opened, written, mistake):
    name, text, message = MISTAKES[mistake]
    with pytest.raises(UsageError, match=message) as error:
        read_labeled(written(text), opened(name))
    assert error.value.exit_code == 2


LINES = {
    "no JSON": ("{", r"line 1: not JSON"),
    "no object": ("[1]", r"line 1: no JSON object"),
    "a field missing": ('{"tokens": ["a"], "label": "bad"}', r"line 1: no labels; there are tokens, label"),
    "no words": ('{"tokens": "a b", "labels": [0, 0]}', r"line 1: tokens is no list of words"),
    "labels missing": ('{"tokens": ["a", "b"], "labels": [0]}', r"line 1: labels is no list of 2 classes"),
    "an unknown label": ('{"tokens": ["a"], "labels": ["X"]}', r"line 1: the head has no label 'X'"),
}


@pytest.mark.parametrize("mistake", LINES)
def test_mistakes_in_json_lines(opened, written, mistake):
    text, message = LINES[mistake]
    with pytest.raises(UsageError, match=message):
        read_labeled(written(text, "words.jsonl"), opened("BertForTokenClassification"))


def test_labels_that_do_not_exclude_each_other_are_refused(opened, written):
    model = opened(CLASSIFIER, problem="multi_label_classification")
    with pytest.raises(UsageError, match="don't exclude each other"):
        read_labeled(written("text\tlabel\na\tbad\n"), model)


def test_a_file_that_is_not_there(opened, tmp_path):
    with pytest.raises(UsageError, match="can't read the text"):
        read_labeled(tmp_path / "no.tsv", opened(CLASSIFIER))
