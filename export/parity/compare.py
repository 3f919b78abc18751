"""The parity gate: compare an exported graph's outputs with the torch model's, before anyone is given it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from compress.errors import ExportError, ModelError
from compress.export.lowering.kv_scales import Scales
from compress.export.parity.reference import Array, Arrays, Trace, TraceStep
from compress.export.parity.unrounded import unrounded
from compress.modeling.quiet import first_line
from compress.onnx_names import CPU_PROVIDER, PAST_PREFIX, SENTENCE_OUTPUT, to_past, to_present

_BY_TOKEN = ("logits", "last_hidden_state")
_TOLERANCE = 1e-4
"""Largest difference allowed in a float graph, in standard deviations of the reference. SmolLM2 is off by 1e-5."""
_RESOLUTION = 2e-6
"""What is allowed at least, times the largest magnitude: float32 sums of many terms differ by that among kernels."""
_LOWERED_ERROR = 0.25
"""Largest relative error allowed once inputs are rounded to 8 bits. Measured on text with SmolLM2: 0.02-0.035 with
weight-only integers, 0.03-0.09 with an int8 cache too, 0.08 with inputs rounded token by token, 0.46 with one scale for
all tokens. Outputs that have nothing to do with the reference are √2 away if they are as large."""
_ONE = torch.ones(())
_DTYPES = {"tensor(int8)": np.int8, "tensor(float)": np.float32, "tensor(float16)": np.float16}
_CACHE_ERROR = 0.02
"""The same of an int8 cache alone, inputs in float. SmolLM2 is off by as much, and more; then torch is asked, too."""
_STORED_ERROR = {torch.float16: 0.01, torch.bfloat16: 0.05}
"""The same of numbers that are stored in 16 bits, computed in float32."""
_ROUNDING_FACTOR = 1.5
"""Factor of the error that torch itself would make which is allowed where that is larger than the above."""
_FLOAT32_FACTOR = 4.0
"""The same of torch's own float32 against its float64, for a float graph."""


class DiffersError(ExportError):
    """A graph doesn't run, or its outputs aren't torch's (exit 4)."""


def check_close(graph: Path, traces: Sequence[Trace], exact: Callable[[], Sequence[Trace]] = list) -> None:
    """Raise a DiffersError for the first output of a graph, computed in float, that differs from torch's.

    By more than rounding to float32 costs torch itself: the traces that ``exact`` makes, where it makes any, are what
    torch computes in float64. A ModelError where torch's own isn't finite.
    """
    session = _session(graph, "nothing")
    for i, trace in enumerate(traces):
        for j, (step, outputs) in enumerate(_run_trace(session, trace)):
            for name, expected in step.expected.items():
                actual, counted = _compared(outputs[name], expected, _counted(name, step))
                if not np.isfinite(counted).all():
                    raise ModelError(f"the model itself gives NaN or infinity in torch, in {name} ({step.name})")
                difference, allowed = _largest_difference(actual, counted), _allowed(counted, step.least)
                if allowed < difference < math.inf and (precise := exact()):
                    _, reference = _compared(outputs[name], precise[i][j].expected[name], _counted(name, step))
                    allowed = max(allowed, _FLOAT32_FACTOR * _largest_difference(counted, reference))
                if not difference <= allowed:
                    raise DiffersError(
                        f"the exported graph differs from torch in {name} ({step.name}): by {difference:.3g} where "
                        f"values reach {np.abs(counted).max():.3g}; nothing was written"
                    )


def check_rounded(graph: Path, trace: Trace, rounded: Callable[[], Trace], scales: Scales) -> None:
    """Raise an ExportError if a lowered graph, whose operators round, is not close to torch in every output.

    Close is what rounding does to a sound model, or what it would do to this one in torch: the trace that ``rounded``
    makes. Where the graph's cache is int8, ``scales`` make floats of it.
    """
    _check_rounding(_session(graph, "all"), trace, rounded, scales, _LOWERED_ERROR)


def check_stored(graph: Path, trace: Trace, rounded: Callable[[], Trace], dtype: torch.dtype) -> None:
    """Raise an ExportError if a graph of 16 bits, computed in float32 on its numbers, is not close to torch.

    ``rounded`` makes what torch computes in float32 on weights that are rounded to ``dtype``.
    """
    _check_rounding(_session(graph, "nothing"), trace, rounded, {}, _STORED_ERROR[dtype])


def check_cache(graph: Path, trace: Trace, rounded: Trace, scales: Scales) -> None:
    """Raise an ExportError if a graph's int8 cache costs more than it does in torch by the same ``scales``.

    Inputs are float here, on both sides. ``rounded`` is torch's ``trace`` with its cache rounded.
    """
    _check_rounding(_session(graph, "cache"), trace, lambda: rounded, scales, _CACHE_ERROR)


def _check_rounding(
    session: ort.InferenceSession, trace: Trace, rounded: Callable[[], Trace], scales: Scales, least: float
) -> None:
    """As `check_rounded`; an error of ``least`` is allowed in any case."""
    for i, (step, outputs) in enumerate(_run_trace(session, trace)):
        for name, expected in step.expected.items():
            scale = scales.get(to_past(name), _ONE).numpy()
            error, allowed = relative_error(outputs[name] * scale, expected, step.least), least
            if not error <= allowed:
                in_torch = relative_error(rounded()[i].expected[name], expected, step.least)
                allowed = max(allowed, _ROUNDING_FACTOR * in_torch)
            if not error <= allowed:
                raise ExportError(
                    f"the lowered graph is not close to torch in {name} ({step.name}): relative error {error:.3g}, "
                    f"allowed {allowed:.3g}; nothing was written"
                )


def _counted(name: str, step: TraceStep) -> NDArray[np.bool_] | None:
    """What of an output counts: tokens that are no padding, every text's embedding; None for a cache, all of it."""
    if name == SENTENCE_OUTPUT:
        return np.ones(len(step.compared), np.bool_)
    return step.compared if name in _BY_TOKEN else None


def relative_error(actual: Array, expected: Array, least: float = 0.0) -> float:
    """‖actual − expected‖ / ‖expected‖, as if the root mean square of what is expected were ``least`` at least.

    Where zeros are expected, as if it were 1: what a kernel leaves of zeros may be no larger than its rounding.
    """
    if actual.ndim == 4:
        actual, expected = _same_cache(actual, expected)
    size = max(float(np.linalg.norm(expected)), least * math.sqrt(expected.size))
    return float(np.linalg.norm(actual - expected)) / (size or math.sqrt(expected.size))


def _compared(actual: Array, expected: Array, compared: NDArray[np.bool_] | None) -> tuple[Array, Array]:
    """What counts of two outputs: the tokens that are ``compared``, or, where that is None, a cache as a whole."""
    if compared is None:
        return _same_cache(actual, expected)
    return (actual[compared], expected[compared]) if actual.shape == expected.shape else (actual, expected)


def _largest_difference(actual: Array, expected: Array) -> float:
    """NaN where there is one; other shapes are infinitely different."""
    return float(np.abs(actual - expected).max()) if actual.shape == expected.shape else float("inf")


def _allowed(expected: Array, least: float) -> float:
    """The largest difference that a float graph may have in an output; ``least`` as a step has it.

    One class's logit has no deviation, and may be near 0 as a sum of terms that are not.
    """
    return max(_TOLERANCE * float(expected.std()), _RESOLUTION * max(float(np.abs(expected).max()), least))


def _same_cache(actual: Array, expected: Array) -> tuple[Array, Array]:
    """Two caches ``[b, heads, t, size]`` cut to what both have.

    Torch's forgets what has left a sliding window, and may store a head for each query that reads it.
    """
    return actual[:, :, -expected.shape[2] :], expected[:, :: max(1, expected.shape[1] // actual.shape[1])]


def _run_trace(session: ort.InferenceSession, trace: Trace) -> Iterator[tuple[TraceStep, Arrays]]:
    """Run a trace's steps in order, handing each the cache of the one before; each with the graph's outputs by name."""
    names = [output.name for output in session.get_outputs()]
    cache: Arrays = {}
    for step in trace:
        feed = {}
        for node in session.get_inputs():
            if node.name in step.inputs:
                array = step.inputs[node.name]
                if node.name.startswith(PAST_PREFIX):
                    array = array[:, :: array.shape[1] // node.shape[1]]  # torch may store a head for each query
                feed[node.name] = array.astype(_DTYPES.get(node.type, array.dtype), copy=False)
            else:
                heads, size = node.shape[1], node.shape[3]
                empty = np.zeros((len(step.compared), heads, 0, size), _DTYPES[node.type])
                feed[node.name] = cache.get(to_present(node.name), empty)
        try:
            outputs = session.run(None, feed)
        except Exception as error:  # onnxruntime's own classes share no base but this
            raise DiffersError(
                f"onnxruntime can't run the exported graph ({step.name}): {first_line(error)}"
            ) from error
        cache = dict(zip(names, outputs, strict=True))
        yield step, cache


def _session(graph: Path, rounded: Literal["nothing", "cache", "all"]) -> ort.InferenceSession:
    """A session in which so much is ``rounded`` as it runs; what isn't is computed in float, see `unrounded`.

    MatMulNBits rounds its inputs only on prepacked weights; what is in DequantizeLinear and MatMul isn't fused to it.
    """
    ort.disable_telemetry_events()
    options = ort.SessionOptions()
    options.log_severity_level = 4  # what is wrong comes as an exception
    options.intra_op_num_threads = torch.get_num_threads()  # as the module that it is compared with
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # nothing is timed here
    options.add_session_config_entry("session.disable_prepacking", "0" if rounded == "all" else "1")
    options.add_session_config_entry("session.disable_quant_qdq", "0" if rounded == "all" else "1")
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(graph.parent))
    source = None if rounded == "all" else unrounded(graph, cache=rounded == "nothing")
    try:
        return ort.InferenceSession(source or graph, options, providers=[CPU_PROVIDER])
    except Exception as error:  # as above
        raise DiffersError(f"onnxruntime can't load the exported graph: {first_line(error)}") from error
