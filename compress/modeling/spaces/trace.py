"""Find a model's spaces by a run of its own code on torch's meta device, of whatever class it is.

The names of parameters go in, no names of families: what an operation isn't known to do to rotated channels fixes them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, reduce
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from compress.modeling.dry_run import dry_inputs
from compress.modeling.experts import Experts
from compress.modeling.quiet import first_line, quiet_transformers
from compress.modeling.spaces.channels import Ledger, tensors
from compress.modeling.spaces.classify import classify
from compress.modeling.spaces.norms import Norm, read_norm
from compress.modeling.spaces.operations import follow, name_of
from compress.modeling.spaces.space import Spaces

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.modeling.architecture import Architecture
    from compress.modeling.kinds import TaskKind


@lru_cache(maxsize=4)
def find_spaces(architecture: Architecture) -> Spaces:
    """The spaces of an architecture's modules; none where its code can't be followed without numbers."""
    try:
        ledger = trace(architecture.meta_module(), architecture.kind, architecture.outline.tied)
    except Exception as error:  # whatever code that wants numbers raises without them
        reason = f"its code can't be followed ({first_line(error)})"
        return Spaces((), (), reason, reason)
    return classify(ledger.spaces())


def trace(module: PreTrainedModel, kind: TaskKind, tied: Mapping[str, str]) -> Ledger:
    """The ledger of a run of a ``module`` on the meta device, which is for nothing else afterwards.

    ``tied``: the parameters that are another one under a second name, and that one. Raises whatever the module's code
    does where it looks at numbers.
    """
    ledger = Ledger({id(p): tied.get(name, name) for name, p in module.named_parameters()})
    for path, child in module.eval().named_modules():
        if isinstance(child, Experts):
            child.forward = _all_experts(child)  # type: ignore[method-assign]
        elif (norm := read_norm(child)) is not None:
            _watch(child, path, norm, ledger)
    with quiet_transformers(), torch.no_grad(), _Trace(ledger):
        module.set_attn_implementation("eager")  # the masks of others look at numbers
        output = module(**dry_inputs(module.config, kind))
    ledger.fix_all(output.logits if kind.has_head else list(output.values()), "the model's output")
    return ledger


class _Trace(TorchFunctionMode):
    """Show a ledger every operation of a run."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger

    def __torch_function__(self, func: Any, types: object, args: Sequence[object] = (), kwargs: Any = None) -> object:
        kwargs, name = kwargs or {}, name_of(func)
        if name == "__contains__":  # a look at numbers, for a warning about padding
            return False
        out = func(*args, **kwargs)
        if tensors(out):
            follow(self._ledger, func, out, args, kwargs)
        elif name == "__setitem__":
            self._ledger.fix_all(args, name)
        return out


def _watch(module: nn.Module, path: str, norm: Norm, ledger: Ledger) -> None:
    """Let a norm be one operation of the run."""
    forward = module.forward

    def normed(x: Tensor) -> Tensor:
        with torch._C.DisableTorchFunction():
            out: Tensor = forward(x)
            ledger.put_normed(path, norm, x, out)
        return out

    module.forward = normed


def _all_experts(experts: Experts) -> Callable[..., Tensor]:
    """A forward in which every token reaches every expert: to whom it is sent hangs on numbers."""

    def forward(hidden: Tensor, *_: object) -> Tensor:
        total: Tensor = reduce(operator.add, (expert(hidden) for expert in experts))
        return total

    return forward
