"""Tokenizers of a few words, one token a word, that begin and end a text in every way that tokenizers do."""

from __future__ import annotations

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from compress.corpus.packaged import TEXTS

WORDS = [f"word{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(60)]


def word_tokenizer(template: str | None = None, **special: str) -> PreTrainedTokenizerFast:
    """One token a word: ids 0-2 are special, word i is 3 + i.

    ``template``: what stands around a text, such as ``"[CLS] $A [SEP]"``; ``special``: what the tokenizer calls them.
    """
    vocabulary = {word: i for i, word in enumerate(["[UNK]", "[CLS]", "[SEP]", *WORDS])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    if template is not None:
        tokens = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
        raw.post_processor = processors.TemplateProcessing(single=template, special_tokens=tokens)
    return PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="[UNK]", **special)


def text(count: int) -> str:
    """So many words, in order."""
    return " ".join(WORDS[i % len(WORDS)] for i in range(count))


def english_tokenizer(*texts: str, size: int = 320) -> PreTrainedTokenizerFast:
    """Parts of words as they are in texts, by default in a page of English; other letters are unknown."""
    raw = Tokenizer(models.BPE(unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    raw.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=["[UNK]", "<s>"], show_progress=False)
    raw.train_from_iterator(texts or [(TEXTS / "declaration" / "en.txt").read_text()], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="[UNK]", bos_token="<s>")
