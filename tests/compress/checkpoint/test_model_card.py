"""The card: the licence that it carries on, and the scores that are put into it later."""

import re

import numpy as np
import pytest

from compress.checkpoint.model import Model
from compress.checkpoint.model_card import write_scores
from compress.export.targets.base import find_target
from compress.progress import Silent
from tests.support.passes import make_variant


def test_licence_and_notices_travel_with_the_variant(llama, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for file in llama.iterdir():
        (source / file.name).write_bytes(file.read_bytes())
    (source / "LICENSE").write_text("MIT License\n")
    (source / "NOTICE.txt").write_text("made by others")
    (source / "README.md").write_text("---\nlicense: other\nlicense_name: mine\n---\n")
    out = tmp_path / "variant"
    make_variant(source, "fp16", find_target("hf").capability, out)
    card = (out / "README.md").read_text()
    assert card.startswith(
        "---\nbase_model: source\nlibrary_name: transformers\nlicense: other\nlicense_name: mine\n---\n"
    )
    assert "holds for this variant too: mine, its text is in `LICENSE`." in card
    assert "- made with torch " in card
    assert (out / "LICENSE").read_text() == "MIT License\n"
    assert (out / "NOTICE.txt").read_text() == "made by others"


def test_scores_come_before_how_to_load_it(tmp_path):
    card = tmp_path / "README.md"
    card.write_text("# x\n\nwords\n\n## Loading\n\ncode\n")
    write_scores(tmp_path, "| a |\n")
    once = "# x\n\nwords\n\n<!-- scores -->\n## Measured\n\n| a |\n<!-- /scores -->\n\n## Loading\n\ncode\n"
    assert card.read_text() == once
    write_scores(tmp_path, "| b |\n")
    assert card.read_text() == once.replace("| a |", "| b |")


def test_a_card_that_its_owner_rewrote_gets_them_at_the_end(tmp_path):
    card = tmp_path / "README.md"
    card.write_text("# mine\n")
    write_scores(tmp_path, "| a |")
    assert card.read_text() == "# mine\n\n<!-- scores -->\n## Measured\n\n| a |\n<!-- /scores -->\n"


def test_a_card_that_is_gone_stays_away(tmp_path):
    write_scores(tmp_path, "| a |")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["BertForSequenceClassification", "BertForTokenClassification"])
def test_the_card_of_a_classifier_says_how_to_load_it(tiny, tmp_path, monkeypatch, capsys, name):
    model, target = Model.open(str(tiny(name, id2label={0: "good", 1: "bad"}))), find_target("ort-cpu")
    made = make_variant(model.path, "fp16", target.capability, tmp_path)
    (tmp_path / "onnx").mkdir()
    target.export(made, (), tmp_path / "onnx", Silent())
    in_torch, in_onnx = re.findall(r"^```python\n(.*?)^```$", (tmp_path / "README.md").read_text(), re.M | re.S)
    monkeypatch.chdir(tmp_path)
    exec(in_torch, {})
    assert set(re.findall(r"\w+", capsys.readouterr().out)) <= {"good", "bad"}
    exec(in_onnx, {})
    shape = [1, 2] if "Sequence" in name else [1, len(model.tokenizer()("The capital of France")["input_ids"]), 2]
    assert capsys.readouterr().out.count(".") == np.prod(shape)
