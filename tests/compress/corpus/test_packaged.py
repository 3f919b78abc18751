"""The texts that come along: whole, with their origin, and for models that read them."""

import hashlib

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from compress.corpus.packaged import EVALUATION, TEXTS, digest, packaged_evaluation, reads_english
from tests.support.models import tokenizer as byte_tokenizer
from tests.support.words import english_tokenizer, word_tokenizer

SAMPLE = "b99c80ef"


@pytest.fixture(scope="module")
def english():
    return english_tokenizer()


def test_every_file_has_its_origin_and_license():
    origin = (TEXTS / "ORIGIN.md").read_text()
    files = {file.relative_to(TEXTS) for file in TEXTS.rglob("*.txt")}
    assert len(files) == 31
    assert [file for file in files if f"`{file}`" not in origin and f"`{file.parent}/`" not in origin] == []
    assert "CC BY-SA 3.0" in origin
    assert origin.count("](https://en.wikipedia.org/w/index.php?oldid=") == 33


def test_the_sample_is_the_same_everywhere():
    text = (EVALUATION / "wikipedia.txt").read_bytes()
    assert hashlib.sha256(text).hexdigest().startswith(SAMPLE)
    assert digest(EVALUATION) == hashlib.sha256(b"wikipedia.txt\0" + text + b"\0").hexdigest()


def test_a_tokenizer_of_english_reads_it(english):
    assert reads_english(english)
    packaged = packaged_evaluation(english)
    assert packaged is not None
    assert packaged.name == f"packaged Wikipedia sample {digest(EVALUATION)[:12]}"
    assert "".join(packaged.read()) == (EVALUATION / "wikipedia.txt").read_text()
    assert packaged.read_from(0.5) is not None


@pytest.mark.parametrize("language", ["de", "zh"])
def test_a_tokenizer_of_another_language_does_not(language):
    declaration = TEXTS / "declaration"
    english = (declaration / "en.txt").read_text()
    other = english_tokenizer(english[:300], *[(declaration / f"{language}.txt").read_text()] * 20, size=600)
    assert not reads_english(other)
    assert packaged_evaluation(other) is None


def test_nor_does_one_of_bytes_or_of_no_letters():
    assert not reads_english(byte_tokenizer())
    assert not reads_english(word_tokenizer())
    assert not reads_english(PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}))))
