"""The parity gate: an exported graph must say what the torch model says, before anyone is given it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from compress.calibration.model_inputs import model_inputs
from compress.calibration.precision import per_token
from compress.errors import ExportError
from compress.export.lowering.kv_scales import Scales
from compress.modeling.kinds import TaskKind
from compress.modeling.quiet import first_line

Arrays = dict[str, NDArray[Any]]
_BY_TOKEN = ("logits", "last_hidden_state")
_TOLERANCE = 1e-3
"""Largest difference allowed in a float graph, times the largest magnitude of the reference where that is over 1."""
_LOWERED_ERROR = 0.25
"""Largest relative error allowed once inputs are rounded to 8 bits. Measured on text with SmolLM2: 0.02-0.035 with
weight-only integers, 0.03-0.09 with an int8 cache too, 0.08 with inputs rounded token by token, 0.46 with one scale for
all tokens. Outputs that have nothing to do with the reference are √2 away if they are as large."""
_ONE = torch.ones(())
_DTYPES = {"tensor(int8)": np.int8, "tensor(float)": np.float32, "tensor(float16)": np.float16}
_MORE = 1.5
"""How many times the error that torch itself would make is allowed where that is larger than the above."""


class DiffersError(ExportError):
    """A float graph says something else than torch (exit 4)."""


@dataclass(frozen=True)
class Step:
    """One run of a graph: what goes in besides the cache, and what torch says comes out.

    ``seen`` marks what of the outputs is compared: bool ``[b, s]``, the tokens that are no padding, or ``[b]``.
    ``least`` is the root mean square that a rounding graph's errors are held against where the outputs' is smaller.
    """

    name: str
    inputs: Arrays
    expected: Arrays
    compared: NDArray[np.bool_]
    least: float = 0.0


Trace = list[Step]
"""Steps that follow each other, each on the cache that the one before it left."""


def reference_traces(module: PreTrainedModel, kind: TaskKind, given: Tensor) -> list[Trace]:
    """What the torch model says to a text ``[length]``: alone, and beside two others that are padded.

    Or to images ``[n, c, h, w]``: the first alone, and all together.
    """
    with torch.inference_mode():
        if kind.is_vision:
            together = f"{len(given)} images"
            return [_image_trace(module, *case) for case in (("one image", given[:1]), (together, given))]
        return [_TRACES[kind.name](module, *case) for case in parity_inputs(given, left=kind.is_decoder_only)]


def parity_inputs(ids: Tensor, left: bool) -> list[tuple[str, Tensor, Tensor]]:
    """A text ``ids [length]`` alone, and beside two shorter ones that are padded, on the ``left`` or the right.

    Each with its name, as ids ``[b, length]`` and mask.
    """
    whole = torch.ones(1, len(ids), dtype=torch.long)
    padded = torch.ones(3, len(ids), dtype=torch.long)
    gap = len(ids) // 3
    padded[1, :gap] = padded[2, : 2 * gap] = 0
    batch = torch.stack([ids, ids.roll(gap), ids.roll(2 * gap)])
    return [("one text", ids[None], whole), ("a padded batch", batch, padded if left else padded.flip(1))]


def _encoder_trace(module: PreTrainedModel, name: str, ids: Tensor, mask: Tensor) -> Trace:
    hidden = module.base_model(input_ids=ids, attention_mask=mask).last_hidden_state
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    return [Step(name, arrays(inputs), {"last_hidden_state": hidden.numpy()}, mask.bool().numpy())]


def _classifier_trace(module: PreTrainedModel, name: str, ids: Tensor, mask: Tensor) -> Trace:
    """Logits, of texts whose second half is a text of its own where the model tells two apart.

    A class that is neither likely nor unlikely has a logit near 0, of which a quarter nat is what rounding may cost.
    """
    kinds = torch.zeros_like(ids)
    if getattr(module.config, "type_vocab_size", 0) > 1:
        kinds[:, ids.shape[1] // 2 :] = 1
    told = {"token_type_ids": kinds} if kinds.any() else {}
    logits = module(input_ids=ids, attention_mask=mask, **told).logits
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": kinds}
    seen = mask.bool() if logits.ndim == 3 else torch.ones(len(ids), dtype=torch.bool)
    return [Step(name, arrays(inputs), {"logits": logits.numpy()}, seen.numpy(), least=1.0)]


def _image_trace(module: PreTrainedModel, name: str, images: Tensor) -> Trace:
    """Logits of images; what is near 0 is as in `_classifier_talk`."""
    inputs = model_inputs(images)
    seen = np.ones(len(images), dtype=np.bool_)
    return [Step(name, arrays(inputs), {"logits": module(**inputs).logits.numpy()}, seen, least=1.0)]


def traces_with_rounded_inputs(module: PreTrainedModel, kind: TaskKind, given: Tensor) -> list[Trace]:
    """What the torch model itself would say if every linear rounded its inputs to 8 bits.

    What a sound model hardly notices, one that is broken (as by rounding to 2 bits) may amplify a hundredfold.
    """
    with rounded_inputs(module):
        return reference_traces(module, kind, given)


@contextmanager
def rounded_inputs(module: PreTrainedModel) -> Iterator[None]:
    """Let every linear of a module round its inputs to 8 bits, token by token."""
    linears = [each for each in module.modules() if isinstance(each, torch.nn.Linear)]
    hooks = [each.register_forward_pre_hook(_round_inputs) for each in linears]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _round_inputs(module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (per_token(inputs[0]), *inputs[1:])


def _decoder_trace(module: PreTrainedModel, name: str, ids: Tensor, mask: Tensor) -> Trace:
    """The text but for its last token, then that token on the cache; they say what the whole text does."""
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    whole = module(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False).logits.numpy()
    cache, steps, start = None, [], 0
    for part, end in (("without a cache", ids.shape[1] - 1), ("with a cache", ids.shape[1])):
        inputs = {
            "input_ids": ids[:, start:end],
            "attention_mask": mask[:, :end],
            "position_ids": positions[:, start:end],
        }
        cache = module.base_model(**inputs, past_key_values=cache, use_cache=True).past_key_values
        expected = {"logits": whole[:, start:end]}
        if len(ids) == 1:
            for i, layer in enumerate(cache.layers):
                expected[f"present.{i}.key"] = layer.keys.numpy().copy()
                expected[f"present.{i}.value"] = layer.values.numpy().copy()
        steps.append(Step(f"{name}, {part}", arrays(inputs), expected, mask[:, start:end].bool().numpy()))
        start = end
    return steps


_TRACES: Mapping[str, Callable[[PreTrainedModel, str, Tensor, Tensor], Trace]] = {
    "decoder": _decoder_trace,
    "encoder": _encoder_trace,
    "classifier": _classifier_trace,
}


def check_close(graph: Path, talks: Sequence[Trace]) -> None:
    """Raise a DiffersError for the first output of a float graph that differs from torch's."""
    session = _session(graph, rounding=False)
    for talk in talks:
        for step, outputs in _run_trace(session, talk):
            for name, expected in step.expected.items():
                difference, scale = _difference(outputs[name], expected, step.compared if name in _BY_TOKEN else None)
                if not difference <= _TOLERANCE * max(1.0, scale):
                    raise DiffersError(
                        f"the exported graph differs from torch in {name} ({step.name}): by {difference:.3g} where "
                        f"values reach {scale:.3g}; nothing was written"
                    )


def check_rounded(graph: Path, talk: Trace, shaken: Callable[[], Trace], scales: Scales) -> None:
    """Raise an ExportError if a lowered graph, whose operators round, is not close to torch in every output.

    Close is what rounding does to a sound model, or what it would do to this one in torch, as ``shaken`` says. Where
    its cache is int8, ``scales`` make floats of it.
    """
    for i, (step, outputs) in enumerate(_run_trace(_session(graph, rounding=True), talk)):
        for name, expected in step.expected.items():
            scale = scales.get(name.replace("present", "past_key_values"), _ONE).numpy()
            error, allowed = _relative(outputs[name] * scale, expected, step.least), _LOWERED_ERROR
            if not error <= allowed:
                allowed = max(allowed, _MORE * _relative(shaken()[i].expected[name], expected, step.least))
            if not error <= allowed:
                raise ExportError(
                    f"the lowered graph is not close to torch in {name} ({step.name}): relative error {error:.3g}, "
                    f"allowed {allowed:.3g}; nothing was written"
                )


def _relative(actual: NDArray[Any], expected: NDArray[Any], least: float) -> float:
    """‖actual − expected‖ / ‖expected‖, over what torch still has of a cache ``[b, heads, t, size]``.

    As if no element of what is expected were smaller than ``least``, in the root mean square.
    """
    if actual.ndim == 4:
        actual = actual[:, :, -expected.shape[2] :]
        expected = expected[:, :: max(1, expected.shape[1] // actual.shape[1])]
    size = max(float(np.linalg.norm(expected)), least * math.sqrt(expected.size))
    return float(np.linalg.norm(actual - expected)) / size


def _difference(actual: NDArray[Any], expected: NDArray[Any], seen: NDArray[np.bool_] | None) -> tuple[float, float]:
    """Largest difference (NaN counts, other shapes are infinitely different) and largest magnitude of the reference."""
    if seen is None:  # a cache ``[b, heads, t, size]``; torch's forgets what has left a sliding window
        actual = actual[:, :, -expected.shape[2] :]
        expected = expected[:, :: max(1, expected.shape[1] // actual.shape[1])]  # torch may store a head for each query
    if actual.shape != expected.shape:
        return float("inf"), 0.0
    if seen is not None:
        actual, expected = actual[seen], expected[seen]
    return float(np.abs(actual - expected).max()), float(np.abs(expected).max())


def _run_trace(session: ort.InferenceSession, talk: Trace) -> Iterator[tuple[Step, Arrays]]:
    """Run a talk's steps in order, handing each the cache of the one before."""
    names = [output.name for output in session.get_outputs()]
    cache: Arrays = {}
    for step in talk:
        feed = {}
        for node in session.get_inputs():
            if node.name in step.inputs:
                given = step.inputs[node.name]
                feed[node.name] = given.astype(_DTYPES.get(node.type, given.dtype), copy=False)
            else:
                heads, size = node.shape[1], node.shape[3]
                dtype = _DTYPES[node.type]
                empty = np.zeros((len(step.compared), heads, 0, size), dtype)
                feed[node.name] = cache.get(node.name.replace("past_key_values", "present"), empty)
        try:
            said = session.run(None, feed)
        except Exception as error:  # onnxruntime's own classes share no base but this
            raise ExportError(f"onnxruntime can't run the exported graph ({step.name}): {first_line(error)}") from error
        cache = dict(zip(names, said, strict=True))
        yield step, cache


def _session(graph: Path, rounding: bool) -> ort.InferenceSession:
    """A session. Without ``rounding`` MatMulNBits computes in float: it rounds inputs only on prepacked weights."""
    options = ort.SessionOptions()
    options.log_severity_level = 4  # what is wrong comes as an exception
    options.add_session_config_entry("session.disable_prepacking", "0" if rounding else "1")
    try:
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        raise ExportError(f"onnxruntime can't load the exported graph: {first_line(error)}") from error


def arrays(tensors: Mapping[str, Tensor]) -> Arrays:
    """What a session is fed."""
    return {name: tensor.numpy() for name, tensor in tensors.items()}
