"""Text that needs no file: written by the model itself, or random words of its vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from compress.corpus.frame import Frame
from compress.corpus.windows import WindowSize, windows
from compress.progress import Progress, Silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_BATCH = 64
_WORD_LENGTH = 3


@torch.inference_mode()
def self_written(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    count: int,
    length: int,
    seed: int,
    progress: Progress | None = None,
    rows: int | None = None,
) -> Tensor:
    """Text sampled from a decoder's own distribution: int64 ``[count, length]``.

    Every row begins as the tokenizer begins a text, or with its beginning-of-text token where it doesn't add that, and
    a random word token, so that rows differ from the start (LLM-QAT, arXiv 2305.17888); the rest is sampled at
    temperature 1 with a KV cache. ``rows``: those of the embedding, where the tokenizer may have more tokens.
    """
    generator = torch.Generator().manual_seed(seed)
    device = next(model.parameters()).device
    starts = _starts(tokenizer, count, generator, rows)[:, :length].to(device)
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


def vocabulary_text(
    tokenizer: PreTrainedTokenizerBase, count: int, length: int, seed: int, rows: int | None = None
) -> Tensor:
    """Random words of the vocabulary, for models that can't write: int64 ``[count, length]``, the same for a seed.

    ``rows`` as for `self_written`.
    """
    generator = torch.Generator().manual_seed(seed)
    words = [text.strip() for text in tokenizer.batch_decode([[i] for i in _word_ids(tokenizer, rows).tolist()])]
    picks = torch.randint(len(words), (count * length,), generator=generator)
    return windows(tokenizer, " ".join(words[i] for i in picks.tolist()), WindowSize(count, length), closed=True)


def _starts(tokenizer: PreTrainedTokenizerBase, count: int, generator: torch.Generator, rows: int | None) -> Tensor:
    ids = _word_ids(tokenizer, rows)
    words = ids[torch.randint(len(ids), (count, 1), generator=generator)]
    frame = Frame.of(tokenizer, closed=False)
    if not frame and isinstance(tokenizer.bos_token_id, int):
        frame = Frame((tokenizer.bos_token_id,))
    return frame.around(words)


def _word_ids(tokenizer: PreTrainedTokenizerBase, rows: int | None) -> Tensor:
    """Tokens that spell a word of a few letters; every token where the vocabulary has no such thing."""
    special = set(tokenizer.all_special_ids)
    count = len(tokenizer) if rows is None else min(len(tokenizer), rows)
    plain = [i for i in range(count) if i not in special]
    texts = tokenizer.batch_decode([[i] for i in plain])
    spelled = zip(plain, (text.strip() for text in texts), strict=True)
    words = [i for i, text in spelled if text.isalpha() and len(text) >= _WORD_LENGTH]
    return torch.tensor(words or plain)
