"""Mixtures of experts: each expert's matrices as linears of their own, where transformers keeps all in one 3-D tensor.

A module opened so computes the same, has the names that checkpoints store, and tells what reaches each expert.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from compress.modeling.modules import linears
from compress.modeling.transformers_private import ExpertNames as Names
from compress.modeling.transformers_private import expert_names, unusual_experts_reason

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_NUMBER = re.compile(r"(?<![^.])\d+(?![^.])")  # as a whole part of a name: Mixtral's matrices are w1, w2 and w3
_STACKS = ("gate_up_proj", "down_proj")
_DEFAULT: Names = ("gate_proj", "up_proj", "down_proj")
"""Names of an expert's matrices where checkpoints have none."""
_TOGETHER = 16
"""Stages side by side whose statistics are in memory together."""


class Expert(nn.Module):
    """A gated MLP that sees the tokens which are routed to it."""

    def __init__(self, hidden: int, width: int, names: Names, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        for name, (outputs, inputs) in _sizes(names, hidden, width):
            self.add_module(name, nn.Linear(inputs, outputs, bias=False))
        self.names = names
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """``[tokens, hidden]`` to the same."""
        gate, up, down = (self.get_submodule(name) for name in self.names)
        out: Tensor = down(self.act(gate(x)) * up(x))
        return out


class Experts(nn.ModuleList):
    """The experts of a layer, with the signature that transformers' own have."""

    def forward(self, hidden: Tensor, chosen: Tensor, shares: Tensor) -> Tensor:
        """The sum of what the ``chosen`` experts ``[tokens, k]`` make of each token ``[tokens, hidden]``, by shares."""
        total = torch.zeros_like(hidden)
        for i, expert in enumerate(self):
            token, which = torch.where(chosen == i)
            if len(token):
                outputs = expert(hidden[token]) * shares[token, which, None]
                total.index_add_(0, token, outputs.to(total.dtype))
        return total


def open_experts(module: PreTrainedModel) -> None:
    """Put separate experts, without weights, in the place of a module's ``gate_up_proj`` and ``down_proj`` in 3-D.

    To be called only where nothing stands in the way (`closed_experts_reason`).
    """
    stacked = _stacked(module)
    names = _names(module) if stacked else _DEFAULT
    for path, (child, count, hidden, width) in stacked.items():
        parent, _, name = path.rpartition(".")
        with child.gate_up_proj.device:
            experts = Experts(Expert(hidden, width, names, child.act_fn) for _ in range(count))
        setattr(module.get_submodule(parent), name, experts)


def expert_shapes(module: PreTrainedModel) -> dict[str, dict[str, tuple[int, int]]]:
    """The weights that `open_experts` would make in a module, by the path of what they stand for: ``[out, in]``."""
    stacked, shapes = _stacked(module), {}
    names = _names(module) if stacked else _DEFAULT
    for path, (_, count, hidden, width) in stacked.items():
        sizes = _sizes(names, hidden, width)
        shapes[path] = {f"{path}.{i}.{name}.weight": shape for i in range(count) for name, shape in sizes}
    return shapes


def closed_experts_reason(module: PreTrainedModel) -> str | None:
    """Say why a module's experts can't be told apart; None where they can, or there are none."""
    stacked = _stacked(module)
    for child, *_ in stacked.values():
        if reason := unusual_experts_reason(child):
            return f"its experts ({type(child).__name__}) {reason}"
    return "all experts of a layer are one tensor in its checkpoints" if stacked and not expert_names(module) else None


def _names(module: PreTrainedModel) -> Names:
    return expert_names(module) or _DEFAULT


def is_stack(name: str) -> bool:
    """Whether a parameter of that name holds a matrix of all experts."""
    return name.rpartition(".")[2] in _STACKS


def _stacked(module: nn.Module) -> dict[str, tuple[Any, int, int, int]]:
    """The modules that hold all experts of a layer in one tensor, by their paths: count, hidden size and width."""
    stacked = {}
    for path, child in module.named_modules():
        gate_up: Any = getattr(child, _STACKS[0], None)
        if isinstance(gate_up, nn.Parameter) and gate_up.ndim == 3:
            count, *sizes = gate_up.shape
            hidden, double = sizes if getattr(child, "is_transposed", False) else reversed(sizes)
            stacked[path] = child, count, hidden, double // 2
    return stacked


def _sizes(names: Names, hidden: int, width: int) -> list[tuple[str, tuple[int, int]]]:
    """The names of an expert's matrices, with their shapes ``[out, in]``."""
    return list(zip(names, ((width, hidden), (width, hidden), (hidden, width)), strict=True))


def expert_weights(module: nn.Module, prefix: str = "") -> frozenset[str]:
    """The weights of linears that only some tokens reach; ``prefix`` is the module's own name."""
    start = f"{prefix}." if prefix else ""
    modules = {f"{start}{name}": child for name, child in module.named_modules() if isinstance(child, Experts)}
    return frozenset(weight for name, child in modules.items() for weight in linears(child, name))


def without_numbers(name: str) -> str:
    """What the names of the same matrix of all experts have in common."""
    return _NUMBER.sub("*", name)


def alike_stages(stages: Sequence[tuple[str, ...]]) -> list[list[tuple[str, ...]]]:
    """Stages in the order in which they run, those together that run side by side: the same ones of several experts."""
    alike: dict[str, list[tuple[str, ...]]] = {}
    for stage in stages:
        alike.setdefault(without_numbers(stage[0].partition(".experts.")[2]) or stage[0], []).append(stage)
    return list(alike.values())


def batched_stages(stages: Sequence[tuple[str, ...]]) -> list[list[tuple[str, ...]]]:
    """As `alike_stages`, no more together than have their statistics, taken in one pass, in memory at one time."""
    alike = alike_stages(stages)
    return [same[i : i + _TOGETHER] for same in alike for i in range(0, len(same), _TOGETHER)]
