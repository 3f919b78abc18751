"""Reference outputs of a torch model, step by step, that an exported graph has to reproduce."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache

from compress.calibration.model_inputs import model_inputs
from compress.calibration.precision import per_token
from compress.modeling.families import FAMILIES
from compress.modeling.kinds import CLASSIFIER, DECODER, ENCODER, TaskKind
from compress.modeling.rotations import switches
from compress.modeling.sentence_chain import SentenceChain
from compress.modeling.switch_lengths import switch_lengths
from compress.modeling.transformers_private import reset_rotations
from compress.onnx_names import SENTENCE_OUTPUT, past_name, present_name

if TYPE_CHECKING:
    from transformers import Cache, PreTrainedModel

Array = NDArray[Any]
Arrays = dict[str, Array]
_BEFORE, _BEHIND = 4, 12
"""Tokens of a long text that are taken in before a length is reached, and behind it."""


@dataclass(frozen=True)
class TraceStep:
    """One run of a graph: its inputs besides the cache, and the torch model's outputs for them.

    ``compared`` marks what of the outputs counts: bool ``[b, s]``, the tokens that are no padding, or ``[b]``.
    ``least`` is the root mean square that a rounding graph's errors are divided by where the outputs' is smaller.
    """

    name: str
    inputs: Arrays
    expected: Arrays
    compared: NDArray[np.bool_]
    least: float = 0.0


Trace = list[TraceStep]
"""Steps that follow each other, each on the cache that the one before it left."""


def reference_traces(
    module: PreTrainedModel, kind: TaskKind, inputs: Tensor, chain: SentenceChain | None = None
) -> list[Trace]:
    """The torch model's outputs for a text ``[length]``: alone, and beside two others that are padded.

    Of a model that does something else after so many tokens, also around each such length, see `_crossing_trace`.
    Or for images ``[n, c, h, w]``: the first alone, and all together. ``chain`` embeds a sentence encoder's texts.
    """
    with torch.inference_mode():
        if kind.is_vision:
            batches = {"one image": inputs[:1], f"{len(inputs)} images": inputs}
            return [_image_trace(module, name, images) for name, images in batches.items()]
        texts = parity_inputs(inputs, pad_left=kind.is_decoder_only)
        traces = [_TRACES[kind](module, *text, chain) for text in texts]
        lengths = [length for length in switch_lengths(module.config) if length > _BEFORE]
        if kind.is_decoder_only:
            traces += [_crossing_trace(module, inputs, length) for length in lengths]
        elif FAMILIES[module.config.model_type].kind.is_decoder_only:  # one that embeds texts, and keeps no cache
            traces += [_long_trace(module, inputs, length + _BEHIND, chain) for length in lengths]
        return traces


def last_token_traces(traces: Sequence[Trace]) -> list[Trace]:
    """Those of a text and of a batch as a graph has them that gives the logits of each text's last token alone."""
    return [[_last_token(step) for step in trace] for trace in traces[:2]]


def _last_token(step: TraceStep) -> TraceStep:
    behind = step.compared[:, ::-1].argmax(1)  # tokens of padding after a text's last one
    last = (step.compared.shape[1] - 1 - behind)[:, None, None]
    logits = np.take_along_axis(step.expected["logits"], last, 1)
    compared = np.expand_dims(step.compared.any(1), 1)
    return replace(step, expected={**step.expected, "logits": logits}, compared=compared)


def parity_inputs(ids: Tensor, pad_left: bool) -> list[tuple[str, Tensor, Tensor]]:
    """A text ``ids [length]`` alone, and beside two shorter ones, padded on the left (``pad_left``) or the right.

    Each with its name, as ids ``[b, length]`` and mask.
    """
    unpadded = torch.ones(1, len(ids), dtype=torch.long)
    padded = torch.ones(3, len(ids), dtype=torch.long)
    gap = len(ids) // 3
    padded[1, :gap] = padded[2, : 2 * gap] = 0
    batch = torch.stack([ids, ids.roll(gap), ids.roll(2 * gap)])
    return [("one text", ids[None], unpadded), ("a padded batch", batch, padded if pad_left else padded.flip(1))]


@contextmanager
def rounded_inputs(module: PreTrainedModel) -> Iterator[None]:
    """Let every linear of a module round its inputs to 8 bits, token by token, as integer operators do.

    A sound model hardly notices; one that is broken (as by rounding to 2 bits) may amplify it a hundredfold.
    """
    linears = [child for child in module.modules() if isinstance(child, torch.nn.Linear)]
    hooks = [linear.register_forward_pre_hook(_round_inputs) for linear in linears]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def arrays(tensors: Mapping[str, Tensor]) -> Arrays:
    """Inputs of a session as numpy arrays."""
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _round_inputs(module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (per_token(inputs[0]), *inputs[1:])


def _encoder_trace(module: PreTrainedModel, name: str, ids: Tensor, mask: Tensor, chain: SentenceChain | None) -> Trace:
    """Hidden states, and the embeddings that a ``chain`` makes of them."""
    hidden = module.base_model(input_ids=ids, attention_mask=mask).last_hidden_state
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    expected = {"last_hidden_state": hidden.numpy()}
    if chain is not None:
        expected[SENTENCE_OUTPUT] = chain.embed(hidden.float(), mask).numpy()
    return [TraceStep(name, arrays(inputs), expected, mask.bool().numpy())]


def _long_trace(module: PreTrainedModel, ids: Tensor, length: int, chain: SentenceChain | None) -> Trace:
    """A text of so many tokens."""
    text = ids.repeat(-(-length // len(ids)))[:length][None]
    return _encoder_trace(module, f"a text of {length} tokens", text, torch.ones_like(text), chain)


def _classifier_trace(
    module: PreTrainedModel, name: str, ids: Tensor, mask: Tensor, chain: SentenceChain | None
) -> Trace:
    """Logits, of texts whose second half is a text of its own where the model tells two apart.

    A class that is neither likely nor unlikely has a logit near 0, of which a quarter nat is what rounding may cost.
    """
    token_types = torch.zeros_like(ids)
    if getattr(module.config, "type_vocab_size", 0) > 1:
        token_types[:, ids.shape[1] // 2 :] = 1
    optional = {"token_type_ids": token_types} if token_types.any() else {}
    logits = module(input_ids=ids, attention_mask=mask, **optional).logits
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": token_types}
    compared = mask.bool() if logits.ndim == 3 else torch.ones(len(ids), dtype=torch.bool)
    return [TraceStep(name, arrays(inputs), {"logits": logits.numpy()}, compared.numpy(), least=1.0)]


def _image_trace(module: PreTrainedModel, name: str, images: Tensor) -> Trace:
    """Logits of images; those near 0 as in `_classifier_trace`."""
    inputs = model_inputs(images)
    compared = np.ones(len(images), dtype=np.bool_)
    return [TraceStep(name, arrays(inputs), {"logits": module(**inputs).logits.numpy()}, compared, least=1.0)]


def _decoder_trace(module: PreTrainedModel, name: str, ids: Tensor, mask: Tensor, chain: SentenceChain | None) -> Trace:
    """The text but for its last token, then that token on the cache; expected are the logits of the text in one run.

    Where rotations change with the length of a call's text, those of each call: keys keep what they were written with.
    """
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    logits = module(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False).logits.numpy()
    reset_rotations(module)
    cache, steps, start = None, [], 0
    for part, end in (("without a cache", ids.shape[1] - 1), ("with a cache", ids.shape[1])):
        inputs = {
            "input_ids": ids[:, start:end],
            "attention_mask": mask[:, :end],
            "position_ids": positions[:, start:end],
        }
        if switches(module.config):
            output = module(**inputs, past_key_values=cache, use_cache=True)
            expected = {"logits": output.logits.numpy()}
        else:
            output = module.base_model(**inputs, past_key_values=cache, use_cache=True)
            expected = {"logits": logits[:, start:end]}
        cache = output.past_key_values
        if len(ids) == 1:
            expected |= cache_arrays(cache)
        steps.append(TraceStep(f"{name}, {part}", arrays(inputs), expected, mask[:, start:end].bool().numpy()))
        start = end
    reset_rotations(module)
    return steps


def _crossing_trace(module: PreTrainedModel, ids: Tensor, length: int) -> Trace:
    """The last tokens before a ``length`` at which the model does something else, the one behind it, and some more.

    What comes before them is a cache of random keys and values, so that a window of thousands costs no more than a
    short text. Values are the larger the more there are: by one key that should have left a window, or shouldn't, an
    output is off by more than rounding.
    """
    past = length - _BEFORE
    cache, inputs = _random_cache(module, ids, past)
    steps, start = [], past
    for new in (_BEFORE, 1, _BEHIND):
        end = start + new
        tokens = ids.repeat(-(-new // len(ids)))[:new][None]
        call = {
            "input_ids": tokens,
            "attention_mask": torch.ones(1, end, dtype=torch.long),
            "position_ids": torch.arange(start, end)[None],
        }
        output = module(**call, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        latest = {name: states[:, :, -new:] for name, states in cache_arrays(cache).items()}
        expected = {"logits": output.logits.numpy(), **latest}
        name = f"tokens {start} to {end} of a long text"
        steps.append(TraceStep(name, arrays(call) | inputs, expected, np.ones((1, new), np.bool_)))
        start, inputs = end, {}
    reset_rotations(module)
    return steps


def _random_cache(module: PreTrainedModel, ids: Tensor, length: int) -> tuple[Cache, Arrays]:
    """A cache of ``length`` random keys and values, of the magnitudes that a text's have; and as a graph's inputs."""
    like = module.base_model(input_ids=ids[None, :_BEFORE], use_cache=True).past_key_values
    cache, inputs, generator = DynamicCache(config=module.config), {}, torch.Generator().manual_seed(0)
    for i, layer in enumerate(like.layers):
        states = []
        for part, tensor, factor in (("key", layer.keys, 1.0), ("value", layer.values, length**0.5)):
            _, heads, _, size = tensor.shape
            random = torch.randn(1, heads, length, size, generator=generator) * tensor.std() * factor
            inputs[past_name(i, part)] = random.numpy()
            states.append(random.to(tensor.dtype))
        cache.update(states[0], states[1], i)
    return cache, inputs


def cache_arrays(cache: Any, side: str = "") -> Arrays:
    """Keys and values of a transformers cache under the names of a graph's outputs; ``side`` as in `present_name`."""
    outputs = {}
    for i, layer in enumerate(cache.layers):
        outputs[present_name(i, "key", side)] = layer.keys.numpy().copy()
        outputs[present_name(i, "value", side)] = layer.values.numpy().copy()
    return outputs


_TRACES: Mapping[TaskKind, Callable[[PreTrainedModel, str, Tensor, Tensor, SentenceChain | None], Trace]] = {
    DECODER: _decoder_trace,
    ENCODER: _encoder_trace,
    CLASSIFIER: _classifier_trace,
}
