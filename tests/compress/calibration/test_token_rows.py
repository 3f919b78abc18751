"""A tokenizer with more words than the embedding has rows: told, kept out of own text, refused in a user's."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from compress.calibration.inputs import CalibrationInputs
from compress.calibration.token_rows import check_tokens, rows_notice, tokens_without_rows
from compress.checkpoint.model import Model
from compress.errors import ModelError
from compress.progress import Silent
from tests.support.cli import run_cli
from tests.support.models import SIZES, save_model

ROWS = 300


def words(count: int, **tokens: str) -> PreTrainedTokenizerFast:
    names = ["<unk>", "<s>", "</s>", *(f"w{i}" for i in range(3, count))]
    level = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    level.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=level, unk_token="<unk>", bos_token="<s>", eos_token="</s>", **tokens
    )


def model(path: Path, name: str = "LlamaForCausalLM", count: int = ROWS + 2, **tokens: str) -> Path:
    save_model(path, name, **{**SIZES, "num_hidden_layers": 1, "vocab_size": ROWS})
    words(count, **tokens).save_pretrained(path)
    return path


def test_tokens_are_named_in_their_order() -> None:
    assert tokens_without_rows(words(ROWS), ROWS) == []
    assert rows_notice(words(ROWS), ROWS) is None
    assert tokens_without_rows(words(ROWS + 2), ROWS) == ["w300", "w301"]
    assert rows_notice(words(ROWS + 5), ROWS) == (
        "the tokenizer has 5 tokens ('w300', 'w301', 'w302', …) that the embedding, of 300 rows, has none for: no text "
        "may use them"
    )
    check_tokens(words(ROWS + 5), range(ROWS), ROWS, "a text")
    with pytest.raises(
        ModelError, match=r"^a text uses 1 token \('w304'\) that the model's embedding, of 300 rows, has none"
    ):
        check_tokens(words(ROWS + 5), [3, 304, 304, 7], ROWS, "a text")


@pytest.mark.parametrize("option", ["--calibration", "--eval"])
def test_a_text_that_uses_them_is_refused_before_the_work(tmp_path: Path, option: str) -> None:
    path, text = model(tmp_path / "m"), tmp_path / "text.txt"
    text.write_text(" ".join(f"w{3 + i % (ROWS - 1)}" for i in range(40_000)))
    score = [] if option == "--eval" else ["--no-score"]
    result = run_cli(path, "-p", "int4:solver=rtn", option, text, *score, "-o", tmp_path / "out")
    assert result.returncode == 3
    assert (
        "text.txt uses 2 tokens ('w300', 'w301') that the model's embedding, of 300 rows, has none for" in result.stderr
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "BertModel"])
def test_own_text_does_without_them(tmp_path: Path, name: str) -> None:
    path = model(tmp_path / "m", name, count=40 * ROWS, cls_token="<s>", sep_token="</s>")
    progress = Silent()
    inputs = CalibrationInputs(Model.open(path), samples=4, length=16, progress=progress)
    inputs.check()
    assert progress.notices[0].startswith(f"the tokenizer has {39 * ROWS} tokens ('w300', 'w301', 'w302', …)")
    assert int(inputs.data.inputs.max()) < ROWS


def test_labels_that_use_them_are_refused(tmp_path: Path) -> None:
    path = model(tmp_path / "m", "BertModel", cls_token="<s>", sep_token="</s>")
    lines = ["text\ttext2\tscore", "w5 w6\tw7\t1", "w5 w301\tw8\t2", "w5\tw9\t3"]
    (tmp_path / "pairs.tsv").write_text("\n".join(lines) + "\n")
    result = run_cli(path, "-p", "int8", "--labels", tmp_path / "pairs.tsv", "-o", tmp_path / "out")
    assert result.returncode == 3
    assert "pairs.tsv uses 1 token ('w301') that the model's embedding, of 300 rows, has none for" in result.stderr
