"""Reference outputs of a torch model, step by step, that an exported graph has to reproduce."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compress.calibration.model_inputs import model_inputs
from compress.errors import ExportError
from compress.export.parity.long_cache import random_cache, repeated_cache
from compress.export.parity.sample import parity_inputs, spread_tokens
from compress.modeling.architecture import longest_input
from compress.modeling.families import is_decoder_type
from compress.modeling.kinds import CLASSIFIER, DECODER, ENCODER, TaskKind
from compress.modeling.rotations import switches
from compress.modeling.sentence_chain import SentenceChain
from compress.modeling.switch_lengths import switch_lengths
from compress.modeling.transformers_private import reset_rotations
from compress.onnx_names import SENTENCE_OUTPUT, present_name

if TYPE_CHECKING:
    from transformers import Cache, PreTrainedModel

Array = NDArray[Any]
Arrays = dict[str, Array]
_BEFORE, _BEHIND = 4, 12
"""Tokens of a long text that are taken in before a length is reached, and behind it."""
_LATE, _LONG, _WORDS = 1024, 512, 16
"""Up to where a decoder's words lie, behind a cache, and length of an encoder's text, if a model takes in so many."""


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
    module: PreTrainedModel,
    kind: TaskKind,
    inputs: Tensor,
    chain: SentenceChain | None = None,
    context: int | None = None,
) -> list[Trace]:
    """The torch model's outputs for a text ``[length]``: alone, and beside two others that are padded.

    Of a model that does something else after so many tokens, also around each such length, see `_late_trace`.
    And words from all over the vocabulary at positions up to `_LATE` or `_LONG`, if a model has so many.
    Or for images ``[n, c, h, w]``: the first alone, and all together. ``chain`` embeds a sentence encoder's texts.
    No decoder's token lies beyond its ``context``, where it has one.
    """
    with torch.inference_mode():
        if kind.is_vision:
            batches = {"one image": inputs[:1], f"{len(inputs)} images": inputs}
            return [_image_trace(module, name, images) for name, images in batches.items()]
        texts = parity_inputs(inputs, pad_left=kind.is_decoder_only)
        traces = [_TRACES[kind](module, *text, chain) for text in texts]
        end = math.inf if context is None else context - _BEHIND
        lengths = [length for length in switch_lengths(module.config) if _BEFORE < length < end]
        longest = context or longest_input(module.config)
        past, long = min(longest, _LATE) - _WORDS, min(longest, _LONG)
        if kind.is_decoder_only:
            for length in lengths:
                cache = random_cache(module, inputs[:_BEFORE], length - _BEFORE)
                traces.append(_late_trace(module, inputs, (_BEFORE, 1, _BEHIND), *cache))
            if past > 0:
                cache = repeated_cache(module, inputs[:_WORDS], past)
                traces.append(_late_trace(module, spread_tokens(module.config, _WORDS), (_WORDS,), *cache))
            return traces
        if is_decoder_type(module.config.model_type):  # one that embeds texts, and keeps no cache
            traces += [_long_trace(module, kind, inputs, length + _BEHIND, chain) for length in lengths]
        return [*traces, _long_trace(module, kind, spread_tokens(module.config, long), long, chain)]


def last_token_traces(traces: Sequence[Trace]) -> list[Trace]:
    """Those of a text and of a batch as a graph has them that gives the logits of each text's last token alone."""
    return [[_last_token(step) for step in trace] for trace in traces[:2]]


def _last_token(step: TraceStep) -> TraceStep:
    behind = step.compared[:, ::-1].argmax(1)  # tokens of padding after a text's last one
    last = (step.compared.shape[1] - 1 - behind)[:, None, None]
    logits = np.take_along_axis(step.expected["logits"], last, 1)
    compared = np.expand_dims(step.compared.any(1), 1)
    return replace(step, expected={**step.expected, "logits": logits}, compared=compared)


def text_trace(module: PreTrainedModel, ids: Tensor) -> Trace:
    """A decoder's outputs for one text ``ids [length]``, without a cache and with one."""
    with torch.inference_mode():
        return _decoder_trace(module, *parity_inputs(ids, pad_left=True)[0], None)


def arrays(tensors: Mapping[str, Tensor]) -> Arrays:
    """Inputs of a session as numpy arrays."""
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _encoder_trace(module: PreTrainedModel, name: str, ids: Tensor, mask: Tensor, chain: SentenceChain | None) -> Trace:
    """Hidden states, and the embeddings that a ``chain`` makes of them."""
    token_types, optional = _token_types(module, ids)
    hidden = module.base_model(input_ids=ids, attention_mask=mask, **optional).last_hidden_state
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": token_types}
    expected = {"last_hidden_state": hidden.numpy()}
    if chain is not None:
        expected[SENTENCE_OUTPUT] = chain.embed(hidden.float(), mask).numpy()
    return [TraceStep(name, arrays(inputs), expected, mask.bool().numpy())]


def _long_trace(
    module: PreTrainedModel, kind: TaskKind, ids: Tensor, length: int, chain: SentenceChain | None
) -> Trace:
    """A text of so many tokens."""
    text = ids.repeat(-(-length // len(ids)))[:length][None]
    return _TRACES[kind](module, f"a text of {length} tokens", text, torch.ones_like(text), chain)


def _classifier_trace(
    module: PreTrainedModel, name: str, ids: Tensor, mask: Tensor, chain: SentenceChain | None
) -> Trace:
    """Logits; a class that is neither likely nor unlikely has one near 0, of which rounding may cost a quarter nat."""
    token_types, optional = _token_types(module, ids)
    logits = module(input_ids=ids, attention_mask=mask, **optional).logits
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": token_types}
    compared = mask.bool() if logits.ndim == 3 else torch.ones(len(ids), dtype=torch.bool)
    return [TraceStep(name, arrays(inputs), {"logits": logits.numpy()}, compared.numpy(), least=1.0)]


def _token_types(module: PreTrainedModel, ids: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The second half of ``ids [b, s]`` as a text of its own where a model tells two apart; what it is called with."""
    token_types = torch.zeros_like(ids)
    if getattr(module.config, "type_vocab_size", 0) > 1:
        token_types[:, ids.shape[1] // 2 :] = 1
    return token_types, {"token_type_ids": token_types} if token_types.any() else {}


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
        cache = getattr(output, "past_key_values", None)
        if cache is None:
            raise ExportError(f"a {type(module).__name__} keeps no keys and values in transformers' cache")
        if len(ids) == 1:
            expected |= cache_arrays(cache)
        steps.append(TraceStep(f"{name}, {part}", arrays(inputs), expected, mask[:, start:end].bool().numpy()))
        start = end
    reset_rotations(module)
    return steps


def _late_trace(
    module: PreTrainedModel, ids: Tensor, parts: Sequence[int], cache: Cache, states: Mapping[str, Tensor]
) -> Trace:
    """Tokens of a long text in ``parts``: before, at and behind a length at which the model does something else.

    What comes before them is a ``cache`` made up of ``states``, by a graph's inputs, so that a window of thousands
    costs no more than a short text.
    """
    past, inputs = cache.get_seq_length(), arrays(states)
    steps, start = [], past
    text = ids.repeat(-(-sum(parts) // len(ids)))
    for new in parts:
        end = start + new
        tokens = text[None, start - past : end - past]
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
