"""What reaches a block's linears: statistics on demand, and the block itself, run as a function of its weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from compress.block import Block
from compress.contract import Statistic
from compress.experts import routed, waves
from compress.filling import fill, local_tensors
from compress.layout import linears
from compress.machine import release_memory
from compress.precision import fast_products, waiting
from compress.statistics import SAMPLE_ROWS, InputStatistics, LinearInput

Call = tuple[tuple[Any, ...], dict[str, Any]]
"""What a layer is called with besides its hidden states: masks, positions."""


class BlockInputs:
    """The inputs of a block that no text is sent through: nothing is known of them."""

    batches = 0
    """How many batches of calibration text there are."""

    @property
    def original(self) -> Block | None:
        """The block as the model has it, where its inputs ride along. What moves a scale within a block must move it
        here too, or the two no longer compute the same."""
        return None

    def stages(self) -> list[tuple[str, ...]]:
        """The names of the linears' weights in the order in which they run, by the tensors that they read."""
        return []

    def statistics(self, level: Statistic, names: Sequence[str] | None = None) -> InputStatistics:
        """Statistics of the inputs which the linears have *now*; of ``names`` alone, if they are given.

        What a pass has already left in the block is in them, as it is in those of the blocks that follow. Linears that
        read the same tensor share one object.
        """
        return {}

    def staged(self, level: Statistic, names: Iterable[str]) -> Iterator[tuple[list[str], LinearInput | None]]:
        """The matrices ``names`` in the order in which they run, those that read the same tensor together.

        Each stage comes with the statistics of its inputs as they are when it is reached: what was left in the block
        for the stages before is in them. Those that no text reaches come with None, mostly last and one by one; so do
        all of them where the level is NONE.
        """
        left = dict.fromkeys(names)
        for wave in waves(self.stages()) if level > Statistic.NONE else []:
            stages = [here for stage in wave if (here := [name for name in stage if name in left])]
            stats = self.statistics(level, [name for here in stages for name in here]) if stages else {}
            for here in stages:
                left = {name: None for name in left if name not in here}
                yield here, stats.get(here[0])  # tokens may all go elsewhere by now
        for name in left:
            yield [name], None


class LayerInputs(BlockInputs):
    """The inputs of a repeated layer.

    ``states`` are the hidden states ``[windows, length, width]`` that the compressed prefix hands it, batch by batch;
    ``originals`` those of the original model, or None where nobody asks.
    ``calls`` gives the rest of a call by the number of windows in a batch.
    """

    def __init__(
        self,
        layer: nn.Module,
        block: Block,
        states: list[Tensor],
        originals: list[Tensor] | None,
        calls: Mapping[int, Call],
    ) -> None:
        self.layer = layer
        self.block = block
        self.states = states
        self.originals = originals
        self.calls = calls
        self.batches = len(states)
        self._outputs = {name: weight.shape[0] for name, weight in block.weights.items()}
        self._stages: list[tuple[str, ...]] | None = None
        self._routed = routed(layer, block.name)
        self._importance: dict[int, Tensor] = {}
        self._ahead: dict[int, Tensor] = {}
        self._original = None
        if originals is not None:
            self._original = replace(block, weights=dict(block.weights), vectors=dict(block.vectors))
            self._reference = copy.deepcopy(layer)

    @property
    def original(self) -> Block | None:
        """The block as the model has it."""
        return self._original

    def stages(self) -> list[tuple[str, ...]]:
        """The linears in the order in which they run, by the tensors that they read."""
        if self._stages is None:
            fill(self.layer, self.block)
            found: dict[str, tuple[str, ...]] = {}
            missing = list(linears(self.layer, self.block.name))
            for state in self.states:  # which experts a text is sent to is its own affair
                groups: dict[int, list[str]] = {}
                seen, _ = self._inputs(self.layer, state, missing)
                for name, x in seen.items():
                    groups.setdefault(id(x), []).append(name)
                found |= {names[0]: tuple(names) for names in groups.values()}
                missing = [name for name in missing if name not in seen]
                if not missing:
                    break
            self._stages = list(found.values())
        return self._stages

    def statistics(self, level: Statistic, names: Sequence[str] | None = None) -> InputStatistics:
        """Statistics of the linears' inputs; the layer is run only as far as they need it."""
        if level is Statistic.NONE:
            return {}
        wanted = list(linears(self.layer, self.block.name)) if names is None else list(names)
        fill(self.layer, self.block)
        if level >= Statistic.MISMATCH:
            assert self._original is not None and self.originals is not None, "original inputs don't ride along"
            fill(self._reference, self._original)
        share = max(1, SAMPLE_ROWS // self.batches)
        stats: dict[str, LinearInput] = {}
        for i in range(self.batches):
            seen, before, importance = self._seen(i, wanted, level)
            current: dict[int, LinearInput] = {}  # the inputs of this batch, each with its statistics
            for name, x in seen.items():
                if id(x) not in current:
                    current[id(x)] = stats.get(name) or LinearInput(level)
                    weight = importance if self.writes_residual(name) else None
                    exact = before.get(name)
                    if exact is not None and (exact.shape != x.shape or name in self._routed):
                        exact = x  # dropped channels, other tokens: the original has nothing to compare them with
                    current[id(x)].update(x, share, exact, weight)
                stats[name] = current[id(x)]
        release_memory()
        return stats

    def forward(self, batch: int, parameters: Mapping[str, Tensor]) -> Tensor:
        """The layer's output for a batch with other tensors in place of its own, by their names in the checkpoint.

        Differentiable in them. What isn't given is as `refresh` found it in the block.
        """
        local = local_tensors(self.layer, self.block, parameters)
        args, kwargs = self.call(self.states[batch])
        return _hidden(functional_call(self.layer, local, (self.states[batch].float(), *args), kwargs))

    def refresh(self) -> None:
        """Bring `forward` and `target` up to what their blocks hold now."""
        fill(self.layer, self.block)
        if self._original is not None:
            fill(self._reference, self._original)

    def target(self, batch: int) -> Tensor:
        """What the original model's layer makes of the original model's states."""
        assert self._original is not None and self.originals is not None, "original inputs don't ride along"
        return self._run(self._reference, self.originals[batch])

    def advance(self) -> None:
        """Replace the states by the outputs: of the block as it is now, unless it is dropped, and of the original."""
        self.refresh()
        if not self.block.dropped:
            for i, state in enumerate(self.states):
                self.states[i] = waiting(self._run(self.layer, state))
        originals = self.originals or []
        for i, state in enumerate(originals):
            originals[i] = self._ahead[i] if i in self._ahead else waiting(self._run(self._reference, state))

    def _seen(
        self, batch: int, wanted: Sequence[str], level: Statistic
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor | None]:
        """What the wanted linears read, here and in the original, and how much each of a batch's tokens matters.

        What is added to a hidden state matters relative to its size, since the next norm divides by that: a token
        counts by the inverse of the squared size of its output, up to the batch's median. Sink tokens, hundreds of
        times larger than others, would otherwise fill the Gram of every linear that writes to them.
        """
        weighed = level >= Statistic.GRAM and any(map(self.writes_residual, wanted))
        originals = self.originals if level >= Statistic.MISMATCH else None
        missing = weighed and batch not in self._importance
        seen, output = self._inputs(self.layer, self.states[batch], wanted, missing and originals is None)
        before: dict[str, Tensor] = {}
        if originals is not None:
            before, output = self._inputs(self._reference, originals[batch], wanted, missing)
            if output is not None:  # it is the next layer's input, whatever becomes of this one
                self._ahead[batch] = waiting(output)
        if missing and output is not None:
            size = output.square().mean(-1).flatten().clamp(min=1e-30)
            self._importance[batch] = (size.median() / size).clamp(max=1.0)
        return seen, before, self._importance[batch] if weighed else None

    def writes_residual(self, name: str) -> bool:
        """Whether a linear's outputs are added to the hidden states: they have their width, and it reads alone."""
        alone = (name,) in self.stages() and name not in self._routed
        return alone and self._outputs[name] == self.states[0].shape[-1]

    def call(self, state: Tensor) -> Call:
        """What the layer is called with beside one of its states, as that lies in `states` or `originals`."""
        return self.calls[len(state)]

    @torch.no_grad()
    def _run(self, layer: nn.Module, state: Tensor) -> Tensor:
        args, kwargs = self.call(state)
        with fast_products():
            return _hidden(layer(state.float(), *args, **kwargs)).float()

    def _inputs(
        self, layer: nn.Module, state: Tensor, wanted: Sequence[str], to_the_end: bool = False
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """The tensors that the wanted linears read, in the order in which they do.

        The layer is run no further than that, or ``to_the_end``, and then its output is returned as well.
        """
        seen: dict[str, Tensor] = {}

        def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
            def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
                seen[name] = inputs[0]
                if len(seen) == len(wanted) and not to_the_end:
                    raise _SeenEnough

            return hook

        known = linears(layer, self.block.name)
        handles = [known[name].register_forward_pre_hook(keep(name)) for name in wanted]
        try:
            return seen, self._run(layer, state)
        except _SeenEnough:
            return seen, None
        finally:
            for handle in handles:
                handle.remove()


class _SeenEnough(Exception):  # noqa: N818 -- it ends a forward pass early and is no error
    """Every input that was asked for has come by."""


def token_error(output: Tensor, exact: Tensor) -> Tensor:
    """The mean relative squared error of hidden states ``[…, width]`` by token: some are hundreds of times larger."""
    return ((output - exact).square().sum(-1) / exact.square().sum(-1)).mean()


def _hidden(output: Any) -> Tensor:
    tensor: Tensor = output[0] if isinstance(output, tuple) else output
    return tensor
