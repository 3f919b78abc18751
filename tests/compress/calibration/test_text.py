"""Text from files, from the model itself, and cut into windows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from compress.calibration.text import read_text, self_written, vocabulary_text, windows
from compress.errors import UsageError

WORDS = [f"word{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(60)]


def tokenizer(framed: bool = False, begins: bool = False) -> PreTrainedTokenizerFast:
    """One token a word: ids 0-2 are special, word i is 3 + i."""
    vocabulary = {word: i for i, word in enumerate(["[UNK]", "[CLS]", "[SEP]", *WORDS])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"unk_token": "[UNK]"}
    if framed:
        raw.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
        special |= {"cls_token": "[CLS]", "sep_token": "[SEP]"}
    if begins:
        special |= {"bos_token": "[CLS]"}
    return PreTrainedTokenizerFast(tokenizer_object=raw, **special)


def text(count: int) -> str:
    return " ".join(WORDS[i % len(WORDS)] for i in range(count))


def test_windows_are_evenly_spread() -> None:
    assert windows(tokenizer(), text(50), length=10, count=4).tolist() == [
        list(range(3 + start, 13 + start)) for start in (0, 10, 20, 30)
    ]
    assert windows(tokenizer(), text(60), length=4, count=3)[:, 0].tolist() == [3, 21, 39]


def test_windows_never_overlap_even_when_they_fill_the_text() -> None:
    assert windows(tokenizer(), text(40), length=10, count=4).flatten().tolist() == list(range(3, 43))


def test_windows_of_an_encoder_are_framed() -> None:
    got = windows(tokenizer(framed=True), text(30), length=5, count=2)
    assert got.dtype == torch.int64
    assert got.tolist() == [[1, 3, 4, 5, 2], [1, 16, 17, 18, 2]]


def test_a_text_too_short_for_its_windows() -> None:
    with pytest.raises(UsageError, match="39 tokens, too few for 4 windows of 10"):
        windows(tokenizer(), text(39), length=10, count=4)
    with pytest.raises(UsageError, match="positive"):
        windows(tokenizer(), text(39), length=0, count=4)


def test_read_text_and_json_lines(tmp_path: Path) -> None:
    plain, lines = tmp_path / "a.txt", tmp_path / "a.jsonl"
    plain.write_text("héllo\nthere\n", encoding="utf-8")
    lines.write_text('{"text": "one"}\n\n{"content": "two", "id": 2}\n')
    assert read_text(plain) == "héllo\nthere\n"
    assert read_text(lines) == "one\n\ntwo"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"  \n", "holds no text"),
        ("a.txt", b"ab\xff", r"no UTF-8 text \(byte 2\)"),
        ("a.jsonl", b'{"text": "a"}\n{"text": \n', "line 2: not JSON"),
        ("a.jsonl", b'{"text": "a"}\n\n{"txt": "b"}\n', 'line 3: no string under "text" or "content"'),
        ("a.jsonl", b"[1]\n", "line 1: no string"),
        ("a.jsonl", b"", "holds no text"),
    ],
)
def test_bad_text_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_text(tmp_path / name)


def test_a_missing_text_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.txt \(No such file or directory\)"):
        read_text(tmp_path / "absent.txt")


@pytest.fixture(scope="module")
def writer() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=63,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    return LlamaForCausalLM(config).eval()


def test_a_model_writes_the_same_text_for_the_same_seed(writer: LlamaForCausalLM) -> None:
    first = self_written(writer, tokenizer(begins=True), count=70, length=12, seed=5)
    assert first.shape == (70, 12)
    assert first.dtype == torch.int64
    assert first[:, 0].unique().tolist() == [1]
    assert first[:, 1].min() >= 3
    assert torch.equal(first, self_written(writer, tokenizer(begins=True), count=70, length=12, seed=5))
    assert not torch.equal(first, self_written(writer, tokenizer(begins=True), count=70, length=12, seed=6))


def test_a_model_without_a_beginning_token_starts_with_a_word(writer: LlamaForCausalLM) -> None:
    starts = self_written(writer, tokenizer(), count=40, length=3, seed=0)[:, 0]
    assert starts.min() >= 3
    assert len(starts.unique()) > 10


def test_what_is_written_follows_the_model(writer: LlamaForCausalLM) -> None:
    """With a sharpened head sampling is greedy, so the cached steps must equal the uncached forward pass."""
    with torch.no_grad():
        writer.lm_head.weight.mul_(1000)
    got = self_written(writer, tokenizer(begins=True), count=3, length=8, seed=1)
    with torch.no_grad():
        expected = writer(got).logits.argmax(-1)
        writer.lm_head.weight.div_(1000)
    assert torch.equal(got[:, 2:], expected[:, 1:-1])


def test_vocabulary_text_is_words_and_seeded() -> None:
    got = vocabulary_text(tokenizer(framed=True), count=3, length=10, seed=0)
    assert got.shape == (3, 10)
    assert got[:, 0].tolist() == [1, 1, 1]
    assert got[:, -1].tolist() == [2, 2, 2]
    assert got[:, 1:-1].min() >= 3
    assert torch.equal(got, vocabulary_text(tokenizer(framed=True), count=3, length=10, seed=0))
