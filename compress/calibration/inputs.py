"""Choose a model's inputs, windows of text or images: from a user's file, or generated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from compress.calibration.data import Calibration
from compress.calibration.images import check_processor, noise_images, read_images
from compress.calibration.text import self_written, vocabulary_text
from compress.calibration.token_rows import check_tokens, rows_notice
from compress.checkpoint.model import Model
from compress.corpus.frame import Frame
from compress.corpus.packaged import packaged_evaluation
from compress.corpus.source import open_source
from compress.corpus.stream import TextSource
from compress.corpus.windows import WindowSize, windows
from compress.errors import ModelError, UsageError
from compress.progress import Progress, Silent


@dataclass(frozen=True)
class Inputs(ABC):
    """The inputs that one kind of model reads."""

    model: Model
    progress: Progress

    def check_length(self, length: int | None) -> None:
        """Refuse, with a UsageError, a ``length`` for samples that have none."""
        return None

    def check_readable(self) -> None:
        """Raise ModelError where the model lacks what its inputs are made with."""
        return None

    def notice(self) -> str | None:
        """What a user should know of the model's inputs, in one line; by default there is nothing to say."""
        return None

    @abstractmethod
    def calibration_size(self, solving: bool, generated: bool) -> tuple[int, int]:
        """Number and length of the samples to calibrate on where the user doesn't say.

        Ranges are known from a few; ``solving`` takes far more samples than a linear has inputs.
        """

    @abstractmethod
    def read(self, file: str | Path, size: WindowSize) -> Calibration:
        """Samples of a user's file, or of what else has texts; a UsageError where it can't be used."""

    def packaged(self, size: WindowSize) -> Calibration | None:
        """Samples to evaluate on of what comes along with the program; None where that has none for the model."""
        return None

    @abstractmethod
    def generate(self, count: int, length: int, seed: int) -> Calibration:
        """Samples that need no file, the same for a seed."""


class TextInputs(Inputs):
    """Windows of tokens, never longer than what the model takes; a file is any text (`open_source`)."""

    def check_readable(self) -> None:
        """Raise ModelError where the model has no tokenizer."""
        self.model.tokenizer()

    def notice(self) -> str | None:
        """Tokens that the embedding has no rows for."""
        return rows_notice(self.model.tokenizer(), self._rows)

    def calibration_size(self, solving: bool, generated: bool) -> tuple[int, int]:
        """Fewer windows where the model has to write them: that takes longer than solving on them."""
        if not solving:
            return 16, 256
        return (64 if generated else 128), 512

    def read(self, file: str | Path, size: WindowSize) -> Calibration:
        """Windows spread evenly over the file's text."""
        return self.cut(open_source(file, self.model.tokenizer(), self.progress.notice), size)

    def cut(self, text: TextSource, size: WindowSize) -> Calibration:
        """Windows spread evenly over a text."""
        size = replace(size, length=self._fit(size.length))
        tokens = windows(self.model.tokenizer(), text, size, self._are_closed, self.progress.notice)
        check_tokens(self.model.tokenizer(), tokens.unique().tolist(), self._rows, text.name)
        texts = self.model.tokenizer().batch_decode(tokens, skip_special_tokens=True)
        return Calibration(tokens, text.name, self._prefix(tokens), texts)

    def packaged(self, size: WindowSize) -> Calibration | None:
        """Windows spread evenly over the packaged text, which is English; None for models that don't read that."""
        text = packaged_evaluation(self.model.tokenizer())
        if text is None:
            self.progress.notice(
                "the packaged evaluation text is English, which the tokenizer wasn't made for: generated text takes "
                "its place; give your own with --eval"
            )
            return None
        return self.cut(text, size)

    def generate(self, count: int, length: int, seed: int) -> Calibration:
        """Text that a decoder samples itself; random words of the vocabulary for other models."""
        tokenizer, length = self.model.tokenizer(), self._fit(length)
        if self._are_closed:
            tokens, origin = vocabulary_text(tokenizer, count, length, seed, self._rows), "random vocabulary words"
        else:
            module = self.model.torch_module()
            tokens = self_written(module, tokenizer, count, length, seed, self.progress, self._rows)
            origin = "self-written text"
        check_tokens(tokenizer, tokens.unique().tolist(), self._rows, origin)
        return Calibration(tokens, f"{origin}, seed {seed}", self._prefix(tokens))

    @property
    def _rows(self) -> int:
        """Number of tokens that the embedding has."""
        embedding = self.model.architecture.outline.embedding
        assert embedding is not None, "what reads text looks its tokens up"
        return self.model.shape(embedding)[0]

    @property
    def _are_closed(self) -> bool:
        """Whether windows end as the tokenizer ends a text: a decoder's are cut out of one that goes on."""
        return not self.model.kind.is_decoder_only

    def _prefix(self, tokens: Tensor) -> int:
        """Number of tokens that begin every window as they begin every text."""
        prefix = torch.tensor(Frame.of(self.model.tokenizer(), self._are_closed).prefix, dtype=torch.int64)
        return len(prefix) if bool((tokens[:, : len(prefix)] == prefix).all()) else 0

    def _fit(self, length: int) -> int:
        return min(length, self.model.longest_text)


class ImageInputs(Inputs):
    """Images, each a sample of length 1; a file is a folder of them or an ``.npy`` array of pixels."""

    def check_readable(self) -> None:
        """Raise ModelError for an image processor's file that can't be used."""
        check_processor(self.model.path, self.model.config)

    def check_length(self, length: int | None) -> None:
        """Refuse any length: images have none."""
        if length is not None:
            raise UsageError(f"--length counts tokens, and {self.model.source} reads images; remove --length")

    def calibration_size(self, solving: bool, generated: bool) -> tuple[int, int]:
        """Number of images, as many generated as read, and 1."""
        return (256 if solving else 32), 1

    def read(self, file: str | Path, size: WindowSize) -> Calibration:
        """Images spread evenly over the folder or the array; all, where there are fewer and no number is fixed."""
        path = Path(file)
        images = read_images(path, self.model.path, self.model.config, size.count)
        if size.fixed_count and len(images) < size.count:
            raise UsageError(f"{path} has {len(images)} images, too few for {size.count}")
        return Calibration(images, path.name)

    def generate(self, count: int, length: int, seed: int) -> Calibration:
        """Noise with the spectrum of photographs."""
        images = noise_images(self.model.path, self.model.config, count, seed)
        return Calibration(images, f"made images (1/f noise), seed {seed}")


def inputs_class(model: Model) -> type[Inputs]:
    """The class of a model's inputs."""
    return ImageInputs if model.kind.is_vision else TextInputs


@dataclass(frozen=True)
class CalibrationInputs:
    """The calibration data of a run: read or generated when it is first asked for, and then kept.

    ``file``: any text (`open_source`), a folder of images or an array of them; None generates the data with the
    ``seed``. ``samples`` windows of ``length`` tokens, or images: None takes as many as the work is worth, for
    ``solving`` more, or as a short text has.
    """

    model: Model
    file: str | Path | None = None
    samples: int | None = None
    length: int | None = None
    seed: int = 0
    solving: bool = False
    progress: Progress = field(default_factory=Silent)

    def check(self) -> None:
        """Read the file now: what can't be used is refused before the work, not after it.

        A model without a tokenizer is worth a notice: its weights can be compressed all the same.
        """
        self._inputs.check_length(self.length)
        if any(number is not None and number < 1 for number in (self.samples, self.length)):
            raise UsageError(f"calibration takes one sample of one token at least, not {self.samples} of {self.length}")
        if self.file is not None:
            _ = self.data
        else:
            try:
                self._inputs.check_readable()
            except ModelError as error:
                if self.model.kind.is_vision:  # its export is checked on images, as the processor has them
                    raise
                self.progress.notice(f"{error}: the variant can be neither scored nor used to generate text")
                return
        if notice := self._inputs.notice():
            self.progress.notice(notice)

    @cached_property
    def data(self) -> Calibration:
        """The file's samples, or generated ones."""
        count, length = self._inputs.calibration_size(self.solving, generated=self.file is None)
        count, length = self.samples or count, self.length or length
        if self.file is None:
            return self._inputs.generate(count, length, self.seed)
        size = WindowSize(count, length, self.samples is not None, self.length is not None)
        return self._inputs.read(self.file, size)

    @property
    def _inputs(self) -> Inputs:
        return inputs_class(self.model)(self.model, self.progress)
