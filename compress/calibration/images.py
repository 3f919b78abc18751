"""Images for calibration and measurement: from a folder, from an array, or 1/f noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from compress.errors import ModelError, UsageError
from compress.modeling.quiet import first_line, quiet_transformers

if TYPE_CHECKING:
    from transformers import PretrainedConfig

PROCESSOR = "preprocessor_config.json"
_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
_ARRAY = ".npy"
_MIDDLE, _CONTRAST = 0.5, 0.25
"""The mean of a noise image's pixels, from 0 to 1, and their standard deviation."""
_SHARED = 0.8
"""The part of a noise image that all of its channels share: the world is mostly gray."""


def image_shape(config: PretrainedConfig) -> tuple[int, int, int]:
    """The one shape of images that a model takes: channels, height and width."""
    size = config.image_size
    height, width = (size, size) if isinstance(size, int) else size
    return int(config.num_channels), int(height), int(width)


def read_images(source: Path, model: Path, config: PretrainedConfig, count: int) -> Tensor:
    """Images for a model, spread evenly over a folder or an ``.npy`` file: float32 ``[count, c, h, w]``.

    A folder's are read, resized and normalized by the ``preprocessor_config.json`` in the directory ``model``; an array
    holds pixels ``[n, c, h, w]`` as the model is to be given them. Where there are fewer, all are taken. Raises
    UsageError for what holds no images or others than the model takes, ModelError for a model that says nothing of how
    images are read.
    """
    if source.is_dir():
        files = sorted(file for file in source.rglob("*") if file.suffix.lower() in _SUFFIXES)
        if not files:
            raise UsageError(f"{source} holds no images ({', '.join(s.removeprefix('.') for s in _SUFFIXES)})")
        return _processed([files[i] for i in _evenly_spaced(len(files), count)], model, config)
    if source.suffix.lower() != _ARRAY or not source.is_file():
        raise UsageError(f"{source} is neither a folder of images nor an {_ARRAY} file of them")
    pixels = _array(source, image_shape(config))
    selected = torch.from_numpy(np.array(pixels[_evenly_spaced(len(pixels), count)], dtype=np.float32))
    if not bool(selected.isfinite().all()):
        raise UsageError(f"{source} holds pixels that aren't finite")
    return selected


def noise_images(model: Path, config: PretrainedConfig, count: int, seed: int) -> Tensor:
    """Noise whose amplitudes fall with the frequency, as in photographs: float32 ``[count, c, h, w]``, normalized.

    1/f: Field, J. Opt. Soc. Am. A 4 (1987), 2379. The same for a seed.
    """
    channels, height, width = image_shape(config)
    generator = torch.Generator().manual_seed(seed)
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None])
    frequency[0, 0] = torch.inf  # an image's mean is set below
    white = torch.randn(count, channels + 1, height, width, generator=generator)
    noise = torch.fft.irfft2(torch.fft.rfft2(white) / frequency, s=(height, width))
    mixed = _SHARED * noise[:, :1] + (1 - _SHARED) * noise[:, 1:]
    deviation = mixed.flatten(1).std(1).clamp(min=1e-12)[:, None, None, None]
    pixels = (_MIDDLE + _CONTRAST * mixed / deviation).clamp(0, 1)
    mean, std = _scales(model, channels)
    normalized: Tensor = (pixels - mean) / std
    return normalized.contiguous()


def _evenly_spaced(available: int, count: int) -> list[int]:
    """``count`` of the indices ``0 … available - 1`` at even distances; all where there are fewer."""
    return [i * available // count for i in range(count)] if available > count else list(range(available))


def _array(file: Path, shape: tuple[int, int, int]) -> Any:
    try:
        pixels = np.load(file, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy parses the header as Python, and raises whatever comes of that
        raise UsageError(f"can't read the images {file} ({first_line(error)})") from error
    if pixels.ndim != 4 or not len(pixels) or not np.issubdtype(pixels.dtype, np.floating):
        raise UsageError(
            f"{file} holds {pixels.dtype} {list(pixels.shape)}; give normalized pixels, float32 [n, c, h, w]"
        )
    _check_shape(str(file), tuple(pixels.shape[1:]), shape)
    return pixels


def _processed(files: Sequence[Path], model: Path, config: PretrainedConfig) -> Tensor:
    from PIL import Image

    processor, shape, rows = _processor(model), image_shape(config), []
    for file in files:
        try:
            with Image.open(file) as image:
                read = processor(images=image.convert("RGB" if shape[0] == 3 else "L"), return_tensors="pt")
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise UsageError(f"can't read the image {file} ({first_line(error)})") from error
        rows.append(read["pixel_values"][0].float())
        _check_shape(f"{file}, as {PROCESSOR} has it resized,", tuple(rows[-1].shape), shape)
    return torch.stack(rows)


def _check_shape(subject: str, shape: tuple[int, ...], expected: tuple[int, int, int]) -> None:
    if shape != expected:
        actual_text, expected_text = ("×".join(map(str, sizes)) for sizes in (shape, expected))
        raise UsageError(
            f"{subject} is of {actual_text} (channels, height, width), but the model takes {expected_text}"
        )


def check_processor(model: Path, config: PretrainedConfig) -> None:
    """Raise a ModelError for an image processor's file that can't be used; none is needed."""
    _scales(model, config.num_channels)


def _processor(model: Path) -> Any:
    import transformers

    if not (model / PROCESSOR).is_file():
        raise ModelError(
            f"{model} has no {PROCESSOR}, which says how images are read; give normalized pixels in an {_ARRAY} file"
        )
    try:
        with quiet_transformers():
            return transformers.AutoImageProcessor.from_pretrained(model, trust_remote_code=False)
    except Exception as error:  # transformers has no common class for what such a file can be wrong in
        raise ModelError(f"{model / PROCESSOR} can't be used ({first_line(error)})") from error


def _scales(model: Path, channels: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of a channel's pixels from 0 to 1, ``[c, 1, 1]``; both 0.5 by default."""
    processor = _processor(model) if (model / PROCESSOR).is_file() else None
    statistics = []
    for name in ("image_mean", "image_std"):
        value = getattr(processor, name, None) if getattr(processor, "do_normalize", True) else None
        try:
            numbers = torch.tensor(0.5 if value is None else value, dtype=torch.float32).flatten()
            statistics.append(numbers.expand(channels).reshape(channels, 1, 1))
        except (TypeError, ValueError, RuntimeError) as error:
            raise ModelError(
                f"{model / PROCESSOR}: {name} is {value!r}, not a number for each of {channels} channels"
            ) from error
    return statistics[0], statistics[1]
