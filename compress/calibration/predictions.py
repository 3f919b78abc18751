"""Predictions of a whole model: how it is called, what it returns, and how far that is from another's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from compress.calibration.layer_inputs import token_error
from compress.calibration.model_inputs import model_inputs
from compress.modeling.seq2seq import decoder_inputs

if TYPE_CHECKING:
    from compress.modeling.architecture import Architecture

_TOKENS = 256
"""Tokens whose predictions are compared together."""


class _Divergence(torch.autograd.Function):
    """The mean KL divergence of one model's predictions from another's, in nats a token.

    From logits ``[…, vocabulary]``, some tokens at a time: in float32 all of them would take more memory than a small
    model does. The gradient, that of a cross-entropy with soft labels, is at hand where the loss is.
    """

    @staticmethod
    def forward(ctx: Any, output: Tensor, exact: Tensor) -> Tensor:
        trained = ctx.needs_input_grad[0]
        gradient = torch.empty_like(output) if trained else output
        rows = [logits_of_all.flatten(0, -2).split(_TOKENS) for logits_of_all in (output, exact, gradient)]
        total, tokens = torch.zeros(()), output[..., 0].numel()
        for outputs, targets, slope in zip(*rows, strict=True):
            logs, goal = outputs.float().log_softmax(-1), targets.float().log_softmax(-1)
            chances = goal.exp()
            total += goal.sub_(logs).mul_(chances).sum()
            if trained:
                slope.copy_(logs.exp_().sub_(chances).div_(tokens))
        ctx.save_for_backward(gradient)
        return total / tokens

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * scale, None


def model_arguments(architecture: Architecture, inputs: Tensor) -> dict[str, Tensor | bool]:
    """Arguments of a model's call on windows int64 ``[windows, length]``, or images."""
    arguments: dict[str, Tensor | bool] = {**model_inputs(inputs)}
    if architecture.kind.is_seq2seq:
        arguments["decoder_input_ids"] = decoder_inputs(architecture.config, inputs)
    return arguments | ({"use_cache": False} if architecture.kind.generates_text else {})


def prediction(architecture: Architecture, output: object) -> Tensor:
    """Logits ``[…, vocabulary or classes]`` among what a model returned, or an encoder's hidden states."""
    tensor: Tensor = getattr(output, "logits" if architecture.kind.has_head else "last_hidden_state")
    return tensor


def prediction_loss(architecture: Architecture, output: Tensor, exact: Tensor) -> Tensor:
    """The mean KL divergence of a prediction from ``exact``, in nats; of hidden states their relative error."""
    if not architecture.kind.has_head:
        return token_error(output.float(), exact.float())
    divergence: Tensor = _Divergence.apply(output, exact)  # type: ignore[no-untyped-call]
    return divergence
