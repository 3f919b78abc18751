"""Inputs for passes that train the whole model at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.func import functional_call

from compress.calibration.data import BATCH
from compress.calibration.layer_inputs import BlockInputs
from compress.calibration.load_state import init_buffers
from compress.calibration.predictions import model_arguments, prediction, prediction_loss
from compress.system.memory import held_memory

if TYPE_CHECKING:
    from compress.calibration.block import Block
    from compress.checkpoint.model import Model
    from compress.modeling.architecture import Architecture
    from compress.progress import Progress


class WholeInputs(BlockInputs):
    """The calibration text ``tokens`` int64 ``[windows, length]``, or images, for the ``block`` that the variant is.

    ``architecture`` is the variant's architecture. The original and all that is trained are in memory together.
    """

    def __init__(
        self, model: Model, architecture: Architecture, block: Block, tokens: Tensor, progress: Progress
    ) -> None:
        self.block = block
        self._windows = tokens.split(BATCH)
        self.batches = len(self._windows)
        self._architecture = architecture
        self._progress = progress
        self._reference = model.torch_module()
        self._module = architecture.meta_module().eval()  # its weights are given with every call
        init_buffers(self._module, self._module)

    def refresh(self) -> None:
        """Do nothing: `forward` reads the block anew."""

    def forward(self, batch: int, parameters: Mapping[str, Tensor]) -> Tensor:
        """The variant's output for a batch: logits ``[…, vocabulary or classes]``, or an encoder's hidden states.

        ``parameters`` by their names in the checkpoint; differentiable in them.
        """
        trained = {name: self._architecture.to_out_in(name, tensor) for name, tensor in parameters.items()}
        fixed = {name: vector for name, vector in self.block.vectors.items() if name not in trained}
        arguments = model_arguments(self._architecture, self._windows[batch])
        return prediction(self._architecture, functional_call(self._module, trained | fixed, kwargs=arguments))

    @torch.no_grad()
    def target(self, batch: int) -> Tensor:
        """The original's output for a batch."""
        return prediction(
            self._architecture, self._reference(**model_arguments(self._architecture, self._windows[batch]))
        )

    def loss(self, output: Tensor, exact: Tensor) -> Tensor:
        """The mean KL divergence from the original's predictions, in nats; of hidden states their relative error."""
        return prediction_loss(self._architecture, output, exact)

    def training_steps(self, steps: int) -> Iterator[int]:
        """The numbers of a training run's steps; the memory that each needs again is kept in between."""
        with held_memory():
            yield from self._progress.track(range(steps), "training", unit="step")
