"""Calibration text or images on their way through a model's stacks of layers.

An encoder-decoder has two stacks. Its text is what the encoder reads and what the decoder is to write: the decoder's
own inputs are the same windows one token later (teacher forcing). Both are looked up at the start, so that no
embedding stays in memory.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from compress.calibration.block import Block
from compress.calibration.data import BATCH
from compress.calibration.layer_arguments import Arguments, LayerArguments, Placeholder, put
from compress.calibration.load_state import load_block, materialize
from compress.calibration.model_inputs import model_inputs
from compress.calibration.precision import to_storage_dtype
from compress.errors import PassError
from compress.modeling.families import runs_layer_by_layer
from compress.modeling.modules import Layers, StandIn, bias_maker, replaced, stacks, text_config
from compress.modeling.quiet import first_line
from compress.modeling.seq2seq import decoder_inputs
from compress.modeling.transformers_private import init_module

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Flow:
    """The hidden states that reach the next layer of each stack, and what all layers are called with besides.

    ``inputs`` int64 ``[windows, length]`` or float32 ``[n, c, h, w]`` go through ``module`` up to its first layers,
    with ``tensors`` for everything outside of the layers; the module is on torch's meta device before and after.
    ``outputs`` as in `DryRun`.
    """

    def __init__(
        self, module: PreTrainedModel, inputs: Tensor, tensors: Mapping[str, Tensor], outputs: Mapping[str, int]
    ) -> None:
        self._module = module
        self._outputs = outputs
        self.inputs = inputs.split(BATCH)
        self._stacks = stacks(module)
        self._states: list[list[Tensor]] = [[] for _ in self._stacks]
        self._others: list[list[dict[int, Arguments]]] = [[{} for _ in layers] for _, layers in self._stacks]
        self._encoder_states: list[Tensor] = []
        if not runs_layer_by_layer(text_config(module.config).model_type):
            raise _bound_layers(module, "they read more than what they are called with")
        recorders = [_recorders(stack, outputs) for stack in self._stacks]
        with self.materialized(tensors), ExitStack() as places, torch.no_grad():
            for stack, layers in zip(self._stacks, recorders, strict=True):
                places.enter_context(replaced(module, stack, layers))
            for batch in self.inputs:
                self._record_call(batch, recorders)

    def _record_call(self, batch: Tensor, recorders: Sequence[list[_Recorder]]) -> None:
        """Run the model without its layers, whose arguments are stored; PassError where it wants more of them."""
        try:
            encoder_states = _forward(self._module, batch)
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise _bound_layers(self._module, first_line(error)) from error
        for stack_index, layers in enumerate(recorders):
            self._record(stack_index, layers, encoder_states)

    @property
    def batches(self) -> int:
        """Number of batches."""
        return len(self.inputs)

    def fork(self) -> Flow:
        """A copy of what goes through the layers, which goes on by itself (`divergence`)."""
        other = copy.copy(self)
        other._states = [list(states) for states in self._states]
        other._encoder_states = list(self._encoder_states)
        return other

    def arguments_like(self, arguments: LayerArguments) -> LayerArguments:
        """The arguments of another flow's calls of a layer, with this one's states."""
        return replace(arguments, states=self._last_states(), encoder_states=self._encoder_states)

    def arguments(self, stack: int, layer: int) -> LayerArguments:
        """The arguments of a layer's calls, batch by batch."""
        encoder_states = self._encoder_states if stack > 0 else ()
        return LayerArguments(self._states[stack], self._others[stack][layer], encoder_states)

    def after_first_layer(self, stack: int, layer: nn.Module, block: Block) -> None:
        """Hand the position bias that a stack's first layer computes with a block's weights to its other layers.

        Nothing is to be done in most models.
        """
        path = bias_maker(self._stacks[stack][1])
        if path is None:
            return
        load_block(layer, block)
        length = self._states[stack][0].shape[1]
        with torch.no_grad():
            bias: Tensor = layer.get_submodule(path).compute_bias(length, length)  # type: ignore[operator]
        for others in self._others[stack]:
            for windows, (args, kwargs) in others.items():
                others[windows] = put(Placeholder.POSITION_BIAS, bias, args), kwargs

    def between_stacks(self, tensors: Mapping[str, Tensor]) -> None:
        """End the encoder: what follows its layers turns their outputs into what the decoder reads.

        ``tensors`` as for the class.
        """
        encoder, _ = self._stacks
        with self.materialized(tensors), torch.no_grad():
            for states in self._states[0]:
                last = states.float()
                with replaced(self._module, encoder, _recorders(encoder, self._outputs, last)):
                    mask = torch.ones(states.shape[:2], dtype=torch.long)
                    encoded = self._module.get_encoder()(inputs_embeds=last, attention_mask=mask)[0]
                self._encoder_states.append(to_storage_dtype(encoded))
        self._states[0] = []

    @contextmanager
    def materialized(self, tensors: Mapping[str, Tensor]) -> Iterator[None]:
        """Within, the module has what lies outside of its layers; ``tensors`` as for the class."""
        load_outside(self._module, tensors)
        try:
            yield
        finally:
            self._module.to("meta")  # type: ignore[arg-type]  # transformers' wrapper hides the signature

    def head_input(self, batch: int) -> Tensor:
        """What the head reads of a batch ``[windows, length, width]``, once all layers are through.

        The module is to be `materialized`; the embedding and the head themselves aren't computed with.
        """
        states = self._states[-1][batch]
        with behind_layers(self._module, states, self._outputs), torch.no_grad():
            return _head_input(self._module, states, self._encoder_states[batch : batch + 1])

    @contextmanager
    def behind_layers(self, batch: int) -> Iterator[PreTrainedModel]:
        """Inside, the module has a batch's last hidden states for layers; what is outside of them must be loaded."""
        with behind_layers(self._module, self._last_states()[batch], self._outputs):
            yield self._module

    def _last_states(self) -> list[Tensor]:
        """The hidden states that reach the next layer: those of an encoder are empty once it has ended."""
        return self._states[0] or self._states[-1]

    def _record(self, stack: int, recorders: list[_Recorder], encoder_states: Tensor | None) -> None:
        """Store the recorded arguments of a stack's layers for one batch."""
        for i, (recorder, others) in enumerate(zip(recorders, self._others[stack], strict=True)):
            [(hidden, args, kwargs)] = recorder.calls
            recorder.calls = []
            if i == 0:
                self._states[stack].append(to_storage_dtype(hidden))
            args = tuple(Placeholder.ENCODER_STATES if arg is encoder_states is not None else arg for arg in args)
            others.setdefault(len(hidden), (args, kwargs))


def _bound_layers(module: PreTrainedModel, reason: str) -> PassError:
    return PassError(
        f"the layers of a {type(module).__name__} can't be run one by one ({reason}); take passes that read no text: "
        "fp16, bf16, int8:act=none, int4:solver=rtn:smooth=off"
    )


class _Recorder(StandIn):
    """Takes a ``layer``'s place: records its calls and returns the hidden states unchanged, or ``output``.

    ``others``: what it returns beside them; None where that is no tuple, but one tensor.
    """

    def __init__(self, layer: nn.Module, others: tuple[object, ...] | None, output: Tensor | None = None) -> None:
        super().__init__(layer)
        self.others = others
        self.output = output
        self.calls: list[tuple[Tensor, tuple[object, ...], dict[str, object]]] = []

    def forward(self, *args: Any, **kwargs: Any) -> object:
        hidden, *rest = args if args else (kwargs.pop("hidden_states"),)
        self.calls.append((hidden, tuple(rest), kwargs))
        output = hidden if self.output is None else self.output
        return output if self.others is None else (output, *self.others)


def _recorders(stack: Layers, outputs: Mapping[str, int], output: Tensor | None = None) -> list[_Recorder]:
    """Recorders for a stack's layers, whose outputs are as many as `DryRun` counted: nothing, or the common bias."""
    path, layers = stack
    count = outputs.get(path, 0)
    first = Placeholder.POSITION_BIAS if bias_maker(layers) else None
    others = (first, *[None] * (count - 2))[: count - 1] if count else None
    return [_Recorder(layer, others, output) for layer in layers]


@contextmanager
def behind_layers(module: PreTrainedModel, states: Tensor, outputs: Mapping[str, int]) -> Iterator[None]:
    """Within, a module's last layer makes ``states`` ``[windows, length, width]``, whatever the first one reads.

    ``outputs`` as in `DryRun`.
    """
    layer_stacks = stacks(module)
    with ExitStack() as places:
        for stack in layer_stacks:
            output = states.float() if stack is layer_stacks[-1] else None
            places.enter_context(replaced(module, stack, _recorders(stack, outputs, output)))
        yield


def _forward(module: PreTrainedModel, batch: Tensor) -> Tensor | None:
    """Run a model without its head; returns what a decoder read of its encoder's, where there are both."""
    if not module.config.is_encoder_decoder:
        uncached = {} if module.main_input_name == "pixel_values" else {"use_cache": False}
        module.base_model(**model_inputs(batch), **uncached)
        return None
    mask = torch.ones_like(batch)
    encoder_states: Tensor = module.get_encoder()(input_ids=batch, attention_mask=mask)[0]
    module.get_decoder()(
        input_ids=decoder_inputs(module.config, batch),
        encoder_hidden_states=encoder_states,
        encoder_attention_mask=mask,
        use_cache=False,
    )
    return encoder_states


def _head_input(module: PreTrainedModel, states: Tensor, encoder_states: list[Tensor]) -> Tensor:
    """Run a model whose layers return their outputs no matter what they are called with, up to its head.

    ``states`` have the outputs' shape ``[windows, length, width]``; ``encoder_states`` are what a decoder reads of its
    encoder.
    """
    width: Any = module.get_input_embeddings().embedding_dim
    prefix = "decoder_" if encoder_states else ""
    arguments: dict[str, Any] = {
        f"{prefix}inputs_embeds": torch.zeros(*states.shape[:2], width),
        **({"encoder_outputs": (encoder_states[0].float(),)} if encoder_states else {}),
    }
    read: list[Tensor] = []

    def stop(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        read.append(inputs[0])
        raise _HeadReached

    handle = module.get_output_embeddings().register_forward_pre_hook(stop)
    try:
        module(**arguments, use_cache=False)
    except _HeadReached:
        pass
    finally:
        handle.remove()
    return read[0]


class _HeadReached(Exception):  # noqa: N818 -- it ends a forward pass early and is no error
    """The head is called."""


def load_outside(module: PreTrainedModel, tensors: Mapping[str, Tensor]) -> None:
    """Load the tensors outside of a module's layers under all of their names, and compute its own buffers."""
    tied = {name: tensors[source] for name, source in module.all_tied_weights_keys.items() if source in tensors}
    materialize(module, {**tensors, **tied})
    for path, _ in stacks(module):
        for name, child in module.get_submodule(path.rpartition(".")[0]).named_children():
            if isinstance(child, nn.Embedding) and child.weight.is_meta and name == "embed_positions":
                child.to_empty(device="cpu")
                init_module(module, child)  # only the class knows what is in it
