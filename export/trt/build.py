"""Build a TensorRT engine: ``build.sh`` for ``trtexec``, and TensorRT's own builder where it is installed.

Sources: the command line of TensorRT's ``trtexec``; the Python API of TensorRT 11 (``Builder``, ``OnnxParser``,
``IOptimizationProfile``, ``ITimingCache``). Every network is strongly typed there. Sparsity is only ever enabled, for
zeros that are there already: ``force`` would rewrite weights.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import onnx_ir as ir

from compress.errors import ExportError, MissingComponentError
from compress.graph.builder import required
from compress.onnx_names import ENGINE_FILE, MODEL_FILE, PAST_PREFIX

SCRIPT, TIMINGS = "build.sh", "timing.cache"
_BATCHES, _PROMPT = 16, 512
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class ShapeProfile:
    """The shapes of every input that an engine takes: the smallest, those that it is best at, the largest."""

    minimum: Shapes
    optimum: Shapes
    maximum: Shapes


def shape_profiles(model: ir.Model, longest: int) -> list[ShapeProfile]:
    """Shape profiles: of a decoder for a prompt and for single tokens on a cache, of an encoder one.

    ``longest`` counts the tokens of a whole text.
    """
    best = min(_PROMPT, longest // 2)
    if not any(str(value.name).startswith(PAST_PREFIX) for value in model.graph.inputs):
        return [_profile(model, [(1, 1, 0), (1, best, 0), (_BATCHES, longest, 0)])]
    prompt = _profile(model, [(1, 1, 0), (1, best, 0), (_BATCHES, longest, 0)])
    token = _profile(model, [(1, 1, 1), (1, 1, best), (_BATCHES, 1, longest - 1)])
    return [prompt, token]


def _profile(model: ir.Model, batches: Sequence[tuple[int, int, int]]) -> ShapeProfile:
    """Shapes for three batches, counts of new tokens and of cached ones."""
    return ShapeProfile(*(_shapes(model, *sizes) for sizes in batches))


def _shapes(model: ir.Model, batch: int, new: int, cached: int) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for value in model.graph.inputs:
        name = required(value.name)
        tokens = cached if name.startswith(PAST_PREFIX) else new
        if name == "attention_mask":
            tokens = new + cached
        sizes = [size if isinstance(size, int) else tokens for size in required(value.shape)]
        shapes[name] = (batch, *sizes[1:])
    return shapes


def write_script(folder: Path, profiles: Sequence[ShapeProfile], sparse: bool) -> None:
    """Write ``build.sh``: the command that makes the engine of the graph beside it, and keeps its timings."""
    words = [f"--onnx={MODEL_FILE}", f"--saveEngine={ENGINE_FILE}", f"--timingCacheFile={TIMINGS}", "--skipInference"]
    words += ["--sparsity=enable"] if sparse else []
    for i, profile in enumerate(profiles):
        sides = {"min": profile.minimum, "opt": profile.optimum, "max": profile.maximum}
        words += [f"--profile={i}", *(f"--{side}Shapes={_spelled(shapes)}" for side, shapes in sides.items())]
    command = " \\\n  ".join(["trtexec", *words])
    script = folder / SCRIPT
    script.write_text(f'#!/usr/bin/env bash\nset -euo pipefail\ncd "$(dirname "$0")"\n{command}\n')
    script.chmod(0o755)


def _spelled(shapes: Shapes) -> str:
    return ",".join(f"{name}:{'x'.join(map(str, sizes))}" for name, sizes in shapes.items())


def build_engine(folder: Path, profiles: Sequence[ShapeProfile], sparse: bool) -> None:
    """Build ``engine.plan`` beside a graph; a MissingComponentError where TensorRT or a GPU isn't here."""
    if find_spec("tensorrt") is None or shutil.which("nvidia-smi") is None:
        raise MissingComponentError(
            "no engine was built: that takes an NVIDIA GPU and pip install 'compress-models[gpu]'; "
            f"{folder / MODEL_FILE} is written, and {SCRIPT} beside it makes the engine where they are"
        )
    import tensorrt as trt

    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(folder / MODEL_FILE)):
        raise ExportError(f"TensorRT can't read {folder / MODEL_FILE}: {parser.get_error(0).desc()}")
    config = builder.create_builder_config()
    if sparse:
        config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
    for shapes in profiles:
        profile = builder.create_optimization_profile()
        for name in shapes.optimum:
            sides = (shapes.minimum, shapes.optimum, shapes.maximum)
            profile.set_shape(name, *(trt.Dims(list(side[name])) for side in sides))
        config.add_optimization_profile(profile)
    timings = folder / TIMINGS
    cache = config.create_timing_cache(timings.read_bytes() if timings.is_file() else b"")
    config.set_timing_cache(cache, ignore_mismatch=False)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ExportError(f"TensorRT can't build an engine of {folder / MODEL_FILE}; {SCRIPT} beside it shows why")
    (folder / ENGINE_FILE).write_bytes(bytes(plan))
    timings.write_bytes(bytes(cache.serialize()))
