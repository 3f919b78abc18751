"""Dry run of a model on torch's meta device: the shapes that its own code computes, without weights and numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from compress.modeling.distinct_layers import keep_distinct
from compress.modeling.modules import stacks
from compress.modeling.quiet import first_line, quiet_transformers

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from compress.modeling.kinds import TaskKind

_TOKENS = 5
_NEEDS_NUMBERS = "meta tensor"
"""What torch says where a model's code looks at numbers, which there are none of: no fault of the model's."""


@dataclass(frozen=True)
class DryRun:
    """What a run shows. ``failure``: what transformers' own code raises, in one line; None where it runs.

    ``outputs``: how many a stack's layers return, by the stack's path; 0 where that is no tuple, but one tensor.
    """

    failure: str | None = None
    outputs: Mapping[str, int] = field(default_factory=dict)


def run_dry(module: PreTrainedModel, kind: TaskKind) -> DryRun:
    """Run a ``module`` on the meta device; layers that are alike are run once.

    Nothing is told from where the code looks at numbers on; that no row of an empty table can be looked up needs none.
    The module is for nothing else afterwards.
    """
    if empty := next((name for name, tensor in module.state_dict().items() if not tensor.numel()), None):
        return DryRun(f"{empty} is without any number")
    outputs: dict[str, int] = {}
    for path, layers in stacks(module):
        keep_distinct(layers)
        for layer in layers:
            layer.register_forward_hook(_count_outputs(path, outputs))
    try:
        with quiet_transformers(), torch.no_grad():
            module.set_experts_implementation("batched_mm")  # the default's kernel wants 16 bits there
            inputs = dry_inputs(module.config, kind)
            output = module.eval()(**inputs)
            cache = getattr(output, "past_key_values", None)
            if kind.is_decoder_only and cache is not None:
                module(**inputs, past_key_values=cache)
    except Exception as error:  # whatever sizes that don't fit each other lead to
        if not isinstance(error, NotImplementedError) and _NEEDS_NUMBERS not in str(error):
            return DryRun(f"{type(error).__name__}: {first_line(error)}", outputs)
        if not outputs:
            _run_on_zeros(module, kind)
    return DryRun(None, outputs)


def _run_on_zeros(module: PreTrainedModel, kind: TaskKind) -> None:
    """Run what is below a module's head with some numbers, whatever comes of that.

    Memory for weights is taken, but not touched before they are read, and a system hands it out as zeros.
    """
    base = module.base_model.to_empty(device="cpu")
    for buffer in base.buffers():
        buffer.zero_()
    inputs = {name: torch.zeros_like(tensor, device="cpu") for name, tensor in dry_inputs(module.config, kind).items()}
    with suppress(Exception), quiet_transformers(), torch.no_grad():
        base(**inputs)


def _count_outputs(path: str, outputs: dict[str, int]) -> Callable[[nn.Module, Any, object], None]:
    """A hook that notes how many outputs a layer of the stack at ``path`` returns."""

    def count(_: nn.Module, __: Any, output: object) -> None:
        outputs[path] = len(output) if isinstance(output, tuple | list) else 0

    return count


def dry_inputs(config: PretrainedConfig, kind: TaskKind) -> Mapping[str, Tensor]:
    """Inputs without numbers, of the shapes that a model of some ``kind`` takes."""
    if kind.is_vision:
        size = config.image_size
        height, width = (size, size) if isinstance(size, int) else size
        return {"pixel_values": torch.empty(1, config.num_channels, height, width, device="meta")}
    ids = torch.empty(1, _TOKENS, dtype=torch.long, device="meta")
    return {"input_ids": ids, "decoder_input_ids": ids} if kind.is_seq2seq else {"input_ids": ids}
