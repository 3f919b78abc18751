"""The parity gate: an exported graph must say what the torch model says, before anyone is given it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from compress.architecture import first_line
from compress.artifact import Kind
from compress.errors import ExportError

Arrays = dict[str, NDArray[Any]]
_BY_TOKEN = ("logits", "last_hidden_state")
_TOLERANCE = 1e-3
"""Largest difference allowed in a float graph, times the largest magnitude of the reference where that is over 1."""
_LOWERED_ERROR = 0.25
"""Largest relative error allowed once inputs are rounded to 8 bits. Measured on text with SmolLM2: 0.02-0.035 with
weight-only integers, 0.08 with inputs rounded token by token, 0.46 with one scale for all tokens. Outputs that have
nothing to do with the reference, as from a wrong layout, are √2 away if they are as large."""


@dataclass(frozen=True)
class Step:
    """One run of a graph: what goes in besides the cache, and what torch says comes out.

    ``seen`` (bool ``[b, s]``) marks the tokens that are no padding; only their outputs are compared.
    """

    name: str
    inputs: Arrays
    expected: Arrays
    seen: NDArray[np.bool_]


Talk = list[Step]
"""Steps that follow each other, each on the cache that the one before it left."""


def references(module: PreTrainedModel, kind: Kind, ids: Tensor) -> list[Talk]:
    """What the torch model says to a text ``ids [length]``: at once, with a cache, and beside a padded copy."""
    talk = _decoder_talk if kind == "decoder" else _encoder_talk
    whole = torch.ones(1, len(ids), dtype=torch.long)
    padded = torch.ones(2, len(ids), dtype=torch.long)
    gap = len(ids) // 3
    padded[1, :gap] = 0
    if kind == "encoder":
        padded = padded.flip(1)
    with torch.inference_mode():
        return [
            talk(module, "one text", ids[None], whole),
            talk(module, "a padded batch", torch.stack([ids, ids.roll(gap)]), padded),
        ]


def _encoder_talk(module: PreTrainedModel, name: str, ids: Tensor, mask: Tensor) -> Talk:
    hidden = module.base_model(input_ids=ids, attention_mask=mask).last_hidden_state
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    return [Step(name, _arrays(inputs), {"last_hidden_state": hidden.numpy()}, mask.bool().numpy())]


def _decoder_talk(module: PreTrainedModel, name: str, ids: Tensor, mask: Tensor) -> Talk:
    """The text but for its last token, then that token on the cache."""
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    cache, steps, start = None, [], 0
    for part, end in (("without a cache", ids.shape[1] - 1), ("with a cache", ids.shape[1])):
        inputs = {
            "input_ids": ids[:, start:end],
            "attention_mask": mask[:, :end],
            "position_ids": positions[:, start:end],
        }
        said = module(**inputs, past_key_values=cache, use_cache=True)
        cache = said.past_key_values
        expected = {"logits": said.logits.numpy()}
        if len(ids) == 1:
            for i, layer in enumerate(cache.layers):
                expected[f"present.{i}.key"] = layer.keys.numpy().copy()
                expected[f"present.{i}.value"] = layer.values.numpy().copy()
        steps.append(Step(f"{name}, {part}", _arrays(inputs), expected, mask[:, start:end].bool().numpy()))
        start = end
    return steps


def compare(graph: Path, talks: Sequence[Talk]) -> None:
    """Raise an ExportError for the first output of a float graph that differs from torch's."""
    session = _session(graph, rounding=False)
    for talk in talks:
        for step, outputs in _play(session, talk):
            for name, expected in step.expected.items():
                difference, scale = _difference(outputs[name], expected, step.seen if name in _BY_TOKEN else None)
                if not difference <= _TOLERANCE * max(1.0, scale):
                    raise ExportError(
                        f"the exported graph differs from torch in {name} ({step.name}): by {difference:.3g} where "
                        f"values reach {scale:.3g}; nothing was written"
                    )


def compare_rounded(graph: Path, talks: Sequence[Talk]) -> None:
    """Raise an ExportError if a lowered graph, whose operators round their inputs, is not close to torch."""
    step, outputs = next(_play(_session(graph, rounding=True), talks[0]))
    name = next(iter(step.expected))
    actual, expected = outputs[name], step.expected[name]
    error = float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))
    if not error <= _LOWERED_ERROR:
        raise ExportError(
            f"the lowered graph is not close to torch in {name} ({step.name}): relative error {error:.3g}, "
            f"allowed {_LOWERED_ERROR}; nothing was written"
        )


def _difference(actual: NDArray[Any], expected: NDArray[Any], seen: NDArray[np.bool_] | None) -> tuple[float, float]:
    """Largest difference (NaN counts, other shapes are infinitely different) and largest magnitude of the reference."""
    if seen is None:  # a cache ``[b, heads, t, size]``; torch's forgets what has left a sliding window
        actual = actual[:, :, -expected.shape[2] :]
    if actual.shape != expected.shape:
        return float("inf"), 0.0
    if seen is not None:
        actual, expected = actual[seen], expected[seen]
    return float(np.abs(actual - expected).max()), float(np.abs(expected).max())


def _play(session: ort.InferenceSession, talk: Talk) -> Iterator[tuple[Step, Arrays]]:
    """Run a talk's steps in order, handing each the cache of the one before."""
    names = [output.name for output in session.get_outputs()]
    cache: Arrays = {}
    for step in talk:
        feed = {}
        for node in session.get_inputs():
            if node.name in step.inputs:
                feed[node.name] = step.inputs[node.name]
            else:
                heads, size = node.shape[1], node.shape[3]
                empty = np.zeros((len(step.seen), heads, 0, size), np.float32)
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


def _arrays(tensors: Mapping[str, Tensor]) -> Arrays:
    return {name: tensor.numpy() for name, tensor in tensors.items()}
