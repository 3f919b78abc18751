"""Tokenizers in GGUF, read by transformers."""

from __future__ import annotations

import json

import gguf
from transformers import AutoTokenizer

from compress.checkpoint.model import Model
from compress.export.gguf.file import write_gguf
from compress.export.gguf.tokenizer import split_name
from compress.export.targets.gguf import Gguf
from compress.progress import Silent


def test_transformers_reads_the_tokenizer(untied, tmp_path):
    model = Model.open(str(untied))
    progress = Silent()
    Gguf().export(model, (), tmp_path, progress)
    assert progress.notices == []
    theirs = AutoTokenizer.from_pretrained(tmp_path, gguf_file="model.gguf")
    text = "the quick brown fox, 1234 times"
    assert theirs(text)["input_ids"] == model.tokenizer()(text)["input_ids"]
    fields = gguf.GGUFReader(tmp_path / "model.gguf").fields
    assert fields["tokenizer.ggml.pre"].contents() == "gpt-2"
    assert fields["tokenizer.ggml.eos_token_id"].contents() == 1
    types = fields["tokenizer.ggml.token_type"].contents()
    assert len(types) == model.config.vocab_size
    assert types[:4] == [3, 3, 3, 1]


def test_what_llama_cpp_does_not_split_is_fed_token_ids(llama, tmp_path):
    split = {"type": "Split", "behavior": "Isolated", "invert": False}
    plain = {"type": "ByteLevel", "use_regex": False}
    words = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    words += r"|\s+(?!\S)|\s+"
    for pattern, name in ((words, "llama-bpe"), (words.replace("{1,3}", ""), "qwen2"), (".", None)):
        steps = [{**split, "pattern": {"Regex": pattern}}, plain]
        assert split_name({"type": "Sequence", "pretokenizers": steps}) == name
    digits = [{"type": "Digits", "individual_digits": True}, {"type": "ByteLevel", "use_regex": True}]
    assert split_name({"type": "Sequence", "pretokenizers": digits}) == "smollm"
    assert split_name(None) is None
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in llama.iterdir():
        (bare / file.name).write_bytes(file.read_bytes())
    tokenizer = json.loads((bare / "tokenizer.json").read_text())
    tokenizer["pre_tokenizer"] = {"type": "Whitespace"}
    (bare / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert write_gguf(Model.open(str(bare)), tmp_path / "a.gguf") == "it splits text in a way that has no name there"
    (bare / "tokenizer.json").unlink()
    (tmp_path / "out").mkdir()
    progress = Silent()
    Gguf().export(Model.open(str(bare)), (), tmp_path / "out", progress)
    assert progress.notices == ["the GGUF has no tokenizer (there is no tokenizer.json); callers must pass token ids"]
