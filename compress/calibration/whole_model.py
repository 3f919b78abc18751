"""Inputs for passes that train the whole model at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from compress.calibration.data import BATCH
from compress.calibration.layer_inputs import BlockInputs
from compress.calibration.load_state import init_buffers
from compress.calibration.original_outputs import OriginalOutputs
from compress.calibration.predictions import model_arguments, prediction, prediction_loss
from compress.modeling.modules import replaced, stacks
from compress.system.memory import held_memory

if TYPE_CHECKING:
    from compress.calibration.block import Block
    from compress.checkpoint.model import Model
    from compress.modeling.architecture import Architecture
    from compress.progress import Progress


class _Recomputed(nn.Module):
    """Stands in for a layer: computes its tensors and what it makes of its inputs again for the gradients.

    So no more is in memory than what layers hand to each other, and one of them.
    """

    def __init__(self, layer: nn.Module, tensors: Callable[[], dict[str, Tensor]]) -> None:
        super().__init__()
        self._run = lambda *args, **kwargs: functional_call(layer, tensors(), args, kwargs)

    def forward(self, *args: object, **kwargs: object) -> object:
        output: object = checkpoint(partial(self._run, **kwargs), *args, use_reentrant=False, preserve_rng_state=False)
        return output


class WholeInputs(BlockInputs):
    """The calibration text ``tokens`` int64 ``[windows, length]``, or images, for the ``block`` that the variant is.

    ``architecture`` is the variant's architecture. Of the original, no more is in memory than its last layer's outputs,
    and what is behind that layer; of the variant, one layer's matrices at a time.
    """

    def __init__(
        self, model: Model, architecture: Architecture, block: Block, tokens: Tensor, progress: Progress
    ) -> None:
        self.block = block
        self._windows = tokens.clone().split(BATCH)  # text that a model wrote in inference mode has no gradients
        self.batches = len(self._windows)
        self._architecture = architecture
        self._progress = progress
        self._original = OriginalOutputs(model, tokens, progress)
        self._module = architecture.meta_module().eval()  # its weights are given with every call
        init_buffers(self._module, self._module)

    def refresh(self) -> None:
        """Do nothing: `forward` reads the block anew."""

    def forward(self, batch: int, parameters: Mapping[str, Tensor]) -> Tensor:
        """The variant's output for a batch: logits ``[…, vocabulary or classes]``, or an encoder's hidden states.

        ``parameters`` by their names in the checkpoint; differentiable in them. Those of a layer are read from the
        mapping when it runs, and once more for its gradients.
        """
        names = [*parameters, *(name for name in self.block.vectors if name not in parameters)]
        arguments = model_arguments(self._architecture, self._windows[batch])
        with ExitStack() as places:
            for path, layers in stacks(self._module):
                prefixes = [f"{path}.{i}." for i in range(len(layers))]
                tensors = [partial(self._tensors, names, prefix, parameters) for prefix in prefixes]
                names = [name for name in names if not name.startswith(f"{path}.")]
                places.enter_context(replaced(self._module, (path, layers), map(_Recomputed, layers, tensors)))
            outside = self._tensors(names, "", parameters)
            return prediction(self._architecture, functional_call(self._module, outside, kwargs=arguments))

    def _tensors(self, names: list[str], prefix: str, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors whose names begin with a prefix, by the rest of these."""
        return {
            name.removeprefix(prefix): self._architecture.to_out_in(name, parameters[name])
            if name in parameters
            else self.block.vectors[name]
            for name in names
            if name.startswith(prefix)
        }

    def target(self, batch: int) -> Tensor:
        """The original's output for a batch."""
        arguments = model_arguments(self._architecture, self._windows[batch])
        return prediction(self._architecture, self._original.output(batch, arguments))

    def loss(self, output: Tensor, exact: Tensor) -> Tensor:
        """The mean KL divergence from the original's predictions, in nats; of hidden states their relative error."""
        return prediction_loss(self._architecture, output, exact)

    def training_steps(self, steps: int) -> Iterator[int]:
        """The numbers of a training run's steps; the memory that each needs again is kept in between."""
        with held_memory():
            yield from self._progress.track(range(steps), "training", unit="step")
