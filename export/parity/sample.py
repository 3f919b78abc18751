"""The text or images that an export is verified on."""

from __future__ import annotations

import torch
from torch import Tensor

from compress.calibration.images import noise_images
from compress.checkpoint.base import Checkpoint
from compress.modeling.architecture import longest_input

_LENGTH = 24
_LONGEST_WINDOW = 512
_IMAGES = 3
_TEXT = (
    "The museum opened in 1894 in a former grain store by the river. Its founder, a ship's doctor, had brought home "
    "shells, maps and the bones of a whale; visitors paid two pence and were asked not to touch anything. After the "
    "flood the collection moved uphill, where it has stayed."
)


def sample_input(checkpoint: Checkpoint) -> Tensor:
    """Token ids ``[length]`` of a few plain sentences; seeded random ones for a checkpoint without a tokenizer.

    Longer than a sliding window where that is short, so that what slides out of it shows. For a vision model,
    images ``[n, c, h, w]``.
    """
    config = checkpoint.config
    if checkpoint.kind.is_vision:
        return noise_images(checkpoint.path, config, _IMAGES, seed=0)
    window = getattr(config, "sliding_window", None) or 0
    length = window + _LENGTH if window <= _LONGEST_WINDOW else _LENGTH
    length = min(length, longest_input(config) - 1)
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

        tokenizer = AutoTokenizer.from_pretrained(checkpoint.path, local_files_only=True)
        return torch.tensor(tokenizer(_TEXT)["input_ids"], dtype=torch.long)
    except Exception:  # transformers raises whatever its many tokenizers raise, and any text will do
        return torch.empty(0, dtype=torch.long)
