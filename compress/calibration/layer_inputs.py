"""Inputs of a block's linears: statistics on demand, and the block run as a function of its weights."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from torch import Tensor, nn
from torch.func import functional_call

from compress.calibration.block import Block
from compress.calibration.layer_arguments import LayerArguments
from compress.calibration.layer_runner import LayerRun, hidden
from compress.calibration.load_state import to_layer_names
from compress.calibration.precision import to_storage_dtype
from compress.calibration.statistics import SAMPLE_ROWS, InputStatistics, LinearInput, RunningStatistics, Statistic
from compress.modeling.experts import batched_stages, expert_weights
from compress.modeling.modules import linears
from compress.system.memory import release_memory

_CROSS_QUERIES = ("EncDecAttention.q.weight", "encoder_attn.q_proj.weight")
"""Queries of cross-attention: they have the hidden states' width and read alone, but are added to nothing."""


class BlockInputs:
    """The inputs of a block that no text is sent through: there are no statistics of them."""

    batches = 0
    """Number of batches of calibration text."""

    @property
    def original(self) -> Block | None:
        """The original model's block, where its inputs ride along; None where they don't.

        What moves a scale within a block must move it here too, or the two no longer compute the same.
        """
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

    def by_stage(self, level: Statistic, names: Iterable[str]) -> Iterator[tuple[list[str], LinearInput | None]]:
        """The matrices ``names`` in the order in which they run, those that read the same tensor together.

        Each stage comes with the statistics of its inputs as they are when it is reached: what was left in the block
        for the stages before is in them. Those that no text reaches come with None, mostly last and one by one; so do
        all of them where the level is NONE.
        """
        remaining = dict.fromkeys(names)
        for batch in batched_stages(self.stages()) if level > Statistic.NONE else []:
            stages = [here for stage in batch if (here := [name for name in stage if name in remaining])]
            stats = self.statistics(level, [name for here in stages for name in here]) if stages else {}
            for here in stages:
                remaining = {name: None for name in remaining if name not in here}
                yield here, stats.get(here[0])  # tokens may all go elsewhere by now
        for name in remaining:
            yield [name], None


class LayerInputs(BlockInputs):
    """The inputs of a repeated layer.

    ``arguments`` are what the compressed prefix calls it with, batch by batch; ``original`` what the original model
    does, or None where nobody asks.
    """

    def __init__(
        self, layer: nn.Module, block: Block, arguments: LayerArguments, original: LayerArguments | None = None
    ) -> None:
        self.layer = layer
        self.block = block
        self.arguments = arguments
        self.batches = len(arguments.states)
        self._outputs = {name: weight.shape[0] for name, weight in block.weights.items()}
        self._routed = expert_weights(layer, block.name)
        self._importance: dict[int, Tensor] = {}
        self._ahead: dict[int, Tensor] = {}
        self._run = LayerRun(layer, block, arguments)
        self._reference: LayerRun | None = None
        if original is not None:
            original_block = replace(block, weights=dict(block.weights), vectors=dict(block.vectors))
            self._reference = LayerRun(copy.deepcopy(layer), original_block, original)

    @property
    def states(self) -> list[Tensor]:
        """The hidden states ``[windows, length, width]`` that the compressed prefix hands the layer, batch by batch."""
        return self.arguments.states

    @property
    def original_states(self) -> list[Tensor]:
        """The original model's hidden states, batch by batch; none where they don't ride along."""
        return [] if self._reference is None else self._reference.arguments.states

    @property
    def original(self) -> Block | None:
        """The original model's block; None where its inputs don't ride along."""
        return None if self._reference is None else self._reference.block

    def stages(self) -> list[tuple[str, ...]]:
        """The linears in the order in which they run, by the tensors that they read."""
        return self._run.stages()

    def statistics(self, level: Statistic, names: Sequence[str] | None = None) -> InputStatistics:
        """Statistics of the linears' inputs; the layer is run only as far as they need it."""
        if level is Statistic.NONE:
            return {}
        targets = list(linears(self.layer, self.block.name)) if names is None else list(names)
        self._run.refresh()
        if level >= Statistic.MISMATCH:
            self._original_run().refresh()
        share = max(1, SAMPLE_ROWS // self.batches)
        running: dict[str, RunningStatistics] = {}
        for i in range(self.batches):
            inputs, originals, importance = self._read_by(i, targets, level)
            # Linears that read the very same tensor share its statistics. An object's id is its own only as long as the
            # object lives: `inputs` holds them all.
            by_tensor: dict[int, RunningStatistics] = {}
            for name, x in inputs.items():
                if id(x) not in by_tensor:
                    by_tensor[id(x)] = running.get(name) or RunningStatistics(level, x.shape[-1])
                    weight = importance if self.writes_residual(name) else None
                    by_tensor[id(x)].update(x, share, self._comparable(name, x, originals.get(name)), weight)
                running[name] = by_tensor[id(x)]
        release_memory()
        finished = {stats: stats.finish() for stats in set(running.values())}
        return {name: finished[stats] for name, stats in running.items()}

    def _comparable(self, name: str, x: Tensor, original: Tensor | None) -> Tensor | None:
        """The original's input of a linear; ``x`` itself where channels were dropped, or other tokens come."""
        if original is None or (original.shape == x.shape and name not in self._routed):
            return original
        return x

    def forward(self, batch: int, parameters: Mapping[str, Tensor], arguments: LayerArguments | None = None) -> Tensor:
        """The layer's output for a batch with other tensors in place of its own, by their names in the checkpoint.

        Differentiable in them. What isn't given is as `refresh` found it in the block. ``arguments`` take the place of
        the layer's own.
        """
        local = to_layer_names(self.layer, self.block, parameters)
        return hidden(functional_call(self.layer, local, *(arguments or self.arguments).call(batch)))

    def refresh(self) -> None:
        """Load the blocks' current weights for `forward` and `target`."""
        self._run.refresh()
        if self._reference is not None:
            self._reference.refresh()

    def target(self, batch: int) -> Tensor:
        """The original layer's output for the original model's states, a batch."""
        return self._original_run().output(batch)

    def loss(self, output: Tensor, exact: Tensor) -> Tensor:
        """The relative squared error of the layer's outputs against the original's, the mean over tokens."""
        return token_error(output, exact)

    def training_steps(self, steps: int) -> Iterable[int]:
        """The numbers of a training run's steps on this layer."""
        return range(steps)

    def advance(self) -> None:
        """Replace the states by the outputs: of the block as it is now, unless it is dropped, and of the original."""
        self.refresh()
        if not self.block.dropped:
            for i in range(self.batches):
                self.states[i] = to_storage_dtype(self._run.output(i))
        if self._reference is not None:
            for i in range(self.batches):
                output = self._ahead[i] if i in self._ahead else to_storage_dtype(self._reference.output(i))
                self.original_states[i] = output
        for run in (self._run, self._reference):
            if run is not None:
                run.close()

    def _original_run(self) -> LayerRun:
        assert self._reference is not None, "original inputs don't ride along"
        return self._reference

    def _read_by(
        self, batch: int, targets: Sequence[str], level: Statistic
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor | None]:
        """The inputs of the linears ``targets``, those in the original, and how much each of a batch's tokens matters.

        What is added to a hidden state matters relative to its size, since the next norm divides by that: a token
        counts by the inverse of the squared size of its output, up to the batch's median. Sink tokens, hundreds of
        times larger than others, would otherwise fill the Gram of every linear that writes to them.
        """
        weighed = level >= Statistic.GRAM and any(map(self.writes_residual, targets))
        reference = self._original_run() if level >= Statistic.MISMATCH else None
        missing = weighed and batch not in self._importance
        inputs, output = self._run.inputs(batch, targets, missing and reference is None)
        originals: dict[str, Tensor] = {}
        if reference is not None:
            originals, output = reference.inputs(batch, targets, missing)
            if missing:  # it is the next layer's input, whatever becomes of this one
                self._ahead[batch] = to_storage_dtype(output)
        if missing:
            size = output.square().mean(-1).flatten().clamp(min=1e-30)
            self._importance[batch] = (size.median() / size).clamp(max=1.0)
        return inputs, originals, self._importance[batch] if weighed else None

    def writes_residual(self, name: str) -> bool:
        """Whether a linear's outputs are added to the hidden states: they have their width, and it reads alone."""
        alone = (name,) in self.stages() and name not in self._routed and not name.endswith(_CROSS_QUERIES)
        return alone and self._outputs[name] == self.states[0].shape[-1]


def token_error(output: Tensor, exact: Tensor) -> Tensor:
    """The mean relative squared error of hidden states ``[…, width]`` by token: some are hundreds of times larger."""
    return ((output - exact).square().sum(-1) / exact.square().sum(-1)).mean()
