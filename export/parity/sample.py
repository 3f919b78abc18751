"""The text or images that an export is verified on."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PretrainedConfig

from compress.calibration.images import noise_images
from compress.checkpoint.base import Checkpoint
from compress.modeling.architecture import longest_input
from compress.modeling.switch_lengths import switch_lengths

_LENGTH = 24
_LONGEST = 512
"""The largest of a model's lengths, see `switch_lengths`, that a whole text crosses."""
_IMAGES = 3
_TEXT = (
    "The museum opened in 1894 in a former grain store by the river. Its founder, a ship's doctor, had brought home "
    "shells, maps and the bones of a whale; visitors paid two pence and were asked not to touch anything. After the "
    "flood the collection moved uphill, where it has stayed."
)


def sample_input(checkpoint: Checkpoint) -> Tensor:
    """Token ids ``[length]`` of a few plain sentences; seeded random ones for a checkpoint without a tokenizer.

    Longer than what the model's code tells lengths apart by, such as a window, where that is short. For a vision
    model, images ``[n, c, h, w]``.
    """
    config = checkpoint.config
    if checkpoint.kind.is_vision:
        return noise_images(checkpoint.path, config, _IMAGES, seed=0)
    crossed = max((length for length in switch_lengths(config) if length <= _LONGEST), default=0)
    length = min(crossed + _LENGTH, longest_input(config) - 1)
    ids = _words(checkpoint)
    if ids.numel() == 0:
        ids = torch.randint(config.vocab_size, (length,), generator=torch.Generator().manual_seed(0))
    repeated: Tensor = ids.repeat(-(-length // ids.numel()))[:length] % config.vocab_size
    return repeated


def spread_tokens(config: PretrainedConfig, count: int) -> Tensor:
    """So many token ids from the first to the last of a vocabulary, so that no end of a table goes unread.

    Those that mark something, such as padding, which a model may count by, are others in their place.
    """
    marks = [getattr(config, name, None) for name in ("pad_token_id", "bos_token_id", "eos_token_id")]
    plain = torch.tensor([i for i in range(config.vocab_size) if i not in marks])
    return plain[torch.linspace(0, len(plain) - 1, count).long()]


def parity_inputs(ids: Tensor, pad_left: bool) -> list[tuple[str, Tensor, Tensor]]:
    """A text ``ids [length]`` alone, and beside two shorter ones, padded on the left (``pad_left``) or the right.

    Each with its name, as ids ``[b, length]`` and mask.
    """
    unpadded = torch.ones(1, len(ids), dtype=torch.long)
    padded = torch.ones(3, len(ids), dtype=torch.long)
    gap = len(ids) // 3
    padded[1, :gap] = padded[2, : 2 * gap] = 0
    batch = torch.stack([ids, ids.roll(gap), ids.roll(2 * gap)])
    return [("one text", ids[None], unpadded), ("a padded batch", batch, padded if pad_left else padded.flip(1))]


def _words(checkpoint: Checkpoint) -> Tensor:
    if not any((checkpoint.path / name).exists() for name in ("tokenizer.json", "tokenizer.model", "vocab.txt")):
        return torch.empty(0, dtype=torch.long)
    try:
        from transformers import AutoTokenizer  # here: it takes a second to import

        tokenizer = AutoTokenizer.from_pretrained(checkpoint.path, local_files_only=True, trust_remote_code=False)
        return torch.tensor(tokenizer(_TEXT)["input_ids"], dtype=torch.long)
    except Exception:  # transformers raises whatever its many tokenizers raise, and any text will do
        return torch.empty(0, dtype=torch.long)
