"""Inputs for passes that train the whole model at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.func import functional_call

from compress.calibration.data import BATCH
from compress.calibration.layer_inputs import BlockInputs, token_error
from compress.calibration.load_state import init_buffers
from compress.calibration.model_inputs import model_inputs
from compress.modeling.seq2seq import decoder_inputs
from compress.system.memory import held_memory

if TYPE_CHECKING:
    from compress.calibration.block import Block
    from compress.checkpoint.model import Model
    from compress.modeling.architecture import Architecture
    from compress.progress import Progress

_TOKENS = 256
"""Tokens whose predictions are compared together."""


class _Divergence(torch.autograd.Function):
    """The mean KL divergence of one model's predictions from another's, in nats a token.

    From logits ``[…, vocabulary]``, some tokens at a time: in float32 all of them would take more memory than a small
    model does. The gradient, that of a cross-entropy with soft labels, is at hand where the loss is.
    """

    @staticmethod
    def forward(ctx: Any, output: Tensor, exact: Tensor) -> Tensor:
        gradient = torch.empty_like(output)
        rows = [logits_of_all.flatten(0, -2).split(_TOKENS) for logits_of_all in (output, exact, gradient)]
        total, tokens = torch.zeros(()), output[..., 0].numel()
        for outputs, targets, slope in zip(*rows, strict=True):
            logs, goal = outputs.float().log_softmax(-1), targets.float().log_softmax(-1)
            chances = goal.exp()
            total += goal.sub_(logs).mul_(chances).sum()
            slope.copy_(logs.exp_().sub_(chances).div_(tokens))
        ctx.save_for_backward(gradient)
        return total / tokens

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * scale, None


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
        return self._output(functional_call(self._module, trained | fixed, kwargs=self._arguments(batch)))

    @torch.no_grad()
    def target(self, batch: int) -> Tensor:
        """The original's output for a batch."""
        return self._output(self._reference(**self._arguments(batch)))

    def loss(self, output: Tensor, exact: Tensor) -> Tensor:
        """The mean KL divergence from the original's predictions, in nats; of hidden states their relative error."""
        if not self._architecture.kind.has_head:
            return token_error(output.float(), exact.float())
        divergence: Tensor = _Divergence.apply(output, exact)  # type: ignore[no-untyped-call]
        return divergence

    def training_steps(self, steps: int) -> Iterator[int]:
        """The numbers of a training run's steps; the memory that each needs again is kept in between."""
        with held_memory():
            yield from self._progress.track(range(steps), "training", unit="step")

    def _arguments(self, batch: int) -> dict[str, Tensor | bool]:
        window, kind = self._windows[batch], self._architecture.kind
        arguments: dict[str, Tensor | bool] = {**model_inputs(window)}
        if kind.is_seq2seq:
            arguments["decoder_input_ids"] = decoder_inputs(self._architecture.config, window)
        return arguments | ({"use_cache": False} if kind.generates_text else {})

    def _output(self, output: object) -> Tensor:
        tensor: Tensor = getattr(output, "logits" if self._architecture.kind.has_head else "last_hidden_state")
        return tensor
