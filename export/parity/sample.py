"""The text or images that an export is verified on."""

from __future__ import annotations

import torch
from torch import Tensor

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


def _words(checkpoint: Checkpoint) -> Tensor:
    if not any((checkpoint.path / name).exists() for name in ("tokenizer.json", "tokenizer.model", "vocab.txt")):
        return torch.empty(0, dtype=torch.long)
    try:
        from transformers import AutoTokenizer  # here: it takes a second to import

        tokenizer = AutoTokenizer.from_pretrained(checkpoint.path, local_files_only=True, trust_remote_code=False)
        return torch.tensor(tokenizer(_TEXT)["input_ids"], dtype=torch.long)
    except Exception:  # transformers raises whatever its many tokenizers raise, and any text will do
        return torch.empty(0, dtype=torch.long)
