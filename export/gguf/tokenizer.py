"""Write a byte-level tokenizer into GGUF's metadata.

llama.cpp splits text by rules of its own, chosen by a name (``tokenizer.ggml.pre``). Which name fits is told from how
the checkpoint's ``tokenizer.json`` splits. Source: llama.cpp's ``src/llama-vocab.cpp``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.system.regular_files import read_json

if TYPE_CHECKING:
    import gguf

_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_PATTERNS = {_WORDS % r"\p{N}{1,3}": "llama-bpe", _WORDS % r"\p{N}": "qwen2"}


def add_tokenizer(writer: gguf.GGUFWriter, path: Path, vocabulary: int) -> str | None:
    """Add the tokenizer in the directory ``path``; returns the reason where llama.cpp has none like it."""
    import gguf

    file = path / "tokenizer.json"
    if not file.exists():
        return "there is no tokenizer.json"
    tokenizer = read_json(file)
    if tokenizer["model"]["type"] != "BPE" or tokenizer["model"].get("byte_fallback"):
        return "its tokens aren't pairs of bytes merged"
    split = split_name(tokenizer["pre_tokenizer"])
    if split is None:
        return "it splits text in a way that has no name there"
    ids = [*tokenizer["model"]["vocab"].values(), *(added["id"] for added in tokenizer["added_tokens"])]
    if max(ids, default=0) >= vocabulary:
        return f"it has tokens up to {max(ids)}, and the embedding has {vocabulary} rows"
    tokens, types = [f"[PAD{i}]" for i in range(vocabulary)], [_UNUSED] * vocabulary
    for token, i in tokenizer["model"]["vocab"].items():
        tokens[i], types[i] = token, _NORMAL
    for added in tokenizer["added_tokens"]:
        tokens[added["id"]] = added["content"]
        types[added["id"]] = _CONTROL if added["special"] else _USER_DEFINED
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(split)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    gguf.SpecialVocab(path, load_merges=True, n_vocab=vocabulary).add_to_gguf(writer, quiet=True)
    return None


def split_name(rules: dict[str, Any] | None) -> str | None:
    """llama.cpp's name of a ``tokenizer.json``'s pre-tokenizer; None where it has none."""
    steps = (rules or {}).get("pretokenizers", [rules])
    match [(step or {}).get("type") for step in steps]:
        case ["ByteLevel"] if steps[0]["use_regex"]:
            return "gpt-2"
        case ["Digits", "ByteLevel"] if steps[0]["individual_digits"] and steps[1]["use_regex"]:
            return "smollm"
        case ["Split", "ByteLevel"] if not steps[1]["use_regex"] and steps[0]["behavior"] == "Isolated":
            return _PATTERNS.get(steps[0]["pattern"].get("Regex", ""))
    return None
