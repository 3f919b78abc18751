"""Text for calibration and measurement: from a file, written by the model itself, or of its vocabulary."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from compress.errors import UsageError
from compress.progress import Progress, Silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_JSON_LINES = {".jsonl", ".ndjson", ".json"}
_FIELDS = ("text", "content")
_BATCH = 64
_WORD_LENGTH = 3


def read_text(path: Path) -> str:
    """The text of a file; of JSON lines (by suffix) the field ``text`` or ``content`` of each, a blank line apart.

    Raises UsageError for a file that is missing, empty or no UTF-8 text, and names the line that is no such object.
    """
    raw = read_file(path)
    text = _texts_in(raw, path) if is_json_lines(path) else raw
    if not text.strip():
        raise UsageError(f"{path} holds no text")
    return text


def read_file(path: Path) -> str:
    """The text of a file; a UsageError for one that is missing or no UTF-8 text."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"can't read the text {path} ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no UTF-8 text (byte {error.start}); give plain text or JSON lines") from error


def is_json_lines(path: Path) -> bool:
    """Whether a file is taken to hold JSON lines, by its suffix."""
    return path.suffix.lower() in _JSON_LINES


def json_lines(raw: str, path: Path) -> Iterator[tuple[int, object]]:
    """Each line's number and value, without blank lines; a UsageError names the line that is no JSON."""
    for number, line in enumerate(raw.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except ValueError as error:
            raise UsageError(f"{path}, line {number}: not JSON ({error})") from error


def _texts_in(raw: str, path: Path) -> str:
    texts = []
    for number, entry in json_lines(raw, path):
        fields = [entry[f] for f in _FIELDS if isinstance(entry.get(f), str)] if isinstance(entry, dict) else []
        if not fields:
            raise UsageError(f'{path}, line {number}: no string under "text" or "content"')
        texts.append(fields[0])
    return "\n\n".join(texts)


def windows(tokenizer: PreTrainedTokenizerBase, text: str, length: int, count: int) -> Tensor:
    """Windows spread evenly over the text and not overlapping, ``length`` tokens each: int64 ``[count, length]``.

    The text is tokenized once, so a decoder's windows start mid-sentence; where the tokenizer has a class and a
    separator token (encoders), each window is framed by them as such a model expects. Raises UsageError for a text
    that is too short.
    """
    if length < 1 or count < 1:
        raise UsageError(f"windows need a positive length and count, not {length} and {count}")
    first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
    framed = isinstance(first, int) and isinstance(last, int) and length > 2
    body = length - 2 if framed else length
    ids = torch.tensor(tokenizer(text, add_special_tokens=not framed, verbose=False)["input_ids"], dtype=torch.int64)
    if len(ids) < body * count:
        raise UsageError(f"the text has {len(ids)} tokens, too few for {count} windows of {length}; give a longer text")
    step = max((len(ids) - body) // count, body)
    rows = torch.stack([ids[i * step : i * step + body] for i in range(count)])
    if framed:
        rows = torch.cat([torch.full((count, 1), first), rows, torch.full((count, 1), last)], dim=1)
    return rows


@torch.inference_mode()
def self_written(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    count: int,
    length: int,
    seed: int,
    progress: Progress | None = None,
) -> Tensor:
    """Text sampled from a decoder's own distribution: int64 ``[count, length]``.

    Every row begins with the tokenizer's beginning-of-text token, if it has one, and a random word token, so that rows
    differ from the start (LLM-QAT, arXiv 2305.17888); the rest is sampled at temperature 1 with a KV cache.
    """
    generator = torch.Generator().manual_seed(seed)
    device = next(model.parameters()).device
    starts = _starts(tokenizer, count, generator)[:, :length].to(device)
    chunks = list(starts.split(_BATCH))
    steps = [(chunk, step) for chunk in range(len(chunks)) for step in range(length - starts.shape[1])]
    fed, cache = starts[:0], None
    for chunk, step in (progress or Silent()).track(steps, "writing calibration text", unit="token"):
        if step == 0:
            fed, cache = chunks[chunk], None
        out = model(input_ids=fed, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache = out.past_key_values
        chances = out.logits[:, -1].float().softmax(-1).cpu()
        fed = torch.multinomial(chances, 1, generator=generator).to(device)
        chunks[chunk] = torch.cat([chunks[chunk], fed], dim=1)
    return torch.cat(chunks).cpu()


def vocabulary_text(tokenizer: PreTrainedTokenizerBase, count: int, length: int, seed: int) -> Tensor:
    """Random words of the vocabulary, for models that can't write: int64 ``[count, length]``, the same for a seed."""
    generator = torch.Generator().manual_seed(seed)
    words = [text.strip() for text in tokenizer.batch_decode([[i] for i in _word_ids(tokenizer).tolist()])]
    picks = torch.randint(len(words), (count * length,), generator=generator)
    return windows(tokenizer, " ".join(words[i] for i in picks.tolist()), length, count)


def _starts(tokenizer: PreTrainedTokenizerBase, count: int, generator: torch.Generator) -> Tensor:
    ids = _word_ids(tokenizer)
    rows = ids[torch.randint(len(ids), (count, 1), generator=generator)]
    if isinstance(tokenizer.bos_token_id, int):
        rows = torch.cat([torch.full((count, 1), tokenizer.bos_token_id), rows], dim=1)
    return rows


def _word_ids(tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """Tokens that spell a word of a few letters; every token where the vocabulary has no such thing."""
    special = set(tokenizer.all_special_ids)
    plain = [i for i in range(len(tokenizer)) if i not in special]
    texts = tokenizer.batch_decode([[i] for i in plain])
    spelled = zip(plain, (text.strip() for text in texts), strict=True)
    words = [i for i, text in spelled if text.isalpha() and len(text) >= _WORD_LENGTH]
    return torch.tensor(words or plain)
