"""Peers: other tools' 4-bit builds of the same checkpoint, measured in the same run."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx_ir as ir

from compress.benchmarks.project.goals import GENAI, GENAI_ORT, LLAMA
from compress.benchmarks.results.contender import Contender
from compress.benchmarks.runtime.specs import ENGINES, EngineSpec
from compress.benchmarks.worker.client import Worker
from compress.benchmarks.worker.protocol import Generate
from compress.checkpoint.model import Model
from compress.errors import CompressError, RunError
from compress.export.gguf.file import write_gguf
from compress.modeling.architecture import head_size
from compress.onnx_names import MODEL_FILE, PAST_PREFIX, PRESENT_PREFIX
from compress.system.process import python_command, run_process


@dataclass(frozen=True)
class Peer:
    """Another tool: its rows, the engine that runs it, and its build into an empty directory."""

    names: tuple[str, ...]
    engine: EngineSpec
    build: Callable[[Model, Path], list[Contender]]

    def __str__(self) -> str:
        return " and ".join(self.names)


def build_peers(model: Model, folder: Path, threads: int) -> tuple[list[Contender], list[str]]:
    """Build every peer that works here, with a line for each that doesn't: their failures aren't ours."""
    contenders, absent = [], []
    for peer in PEERS:
        if reason := missing_library(peer.engine):
            absent.append(f"{peer}: not measured, {reason}")
            continue
        out = folder / peer.names[0]
        out.mkdir()
        try:
            builds = peer.build(model, out)
            for contender in builds:
                _try(contender, threads)
        except (CompressError, ImportError) as error:
            absent.append(f"{peer}: not measured, it doesn't work here: {error}")
        else:
            contenders += builds
    return contenders, absent


def missing_library(engine: EngineSpec) -> str | None:
    """What an engine lacks here, and how to install it; None where nothing is missing."""
    missing = next((library for library in engine.libraries if find_spec(library) is None), None)
    return None if missing is None else f"{missing} is missing: {engine.install}"


def _try(contender: Contender, threads: int) -> None:
    """Decode one token in a process of its own, which may die of it."""
    with Worker(contender, threads) as worker:
        worker.send(Generate(np.arange(16), 1))


def build_genai(model: Model, out: Path) -> list[Contender]:
    """Build with onnxruntime-genai's own builder and its defaults; run in its own loop and in plain ONNX Runtime."""
    command = python_command("onnxruntime_genai.models.builder", "-i", model.path, "-o", out)
    command += ["-p", "int4", "-e", "cpu", "-c", str(out / "cache")]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    run_process(command, f"the builder of {GENAI}", environment=environment)
    read = _fix_head_size(out / MODEL_FILE, head_size(model.config))
    recipe = "onnxruntime_genai.models.builder -p int4 -e cpu"
    facts = recipe, model, model.parameters, read
    return [Contender.of_peer(GENAI, out, "genai", *facts), Contender.of_peer(GENAI_ORT, out, "ort-cpu", *facts)]


def _fix_head_size(file: Path, size: int) -> int:
    """Set the cache's head size, which the builder leaves open; return the bytes that decoding reads."""
    model = ir.load(file)
    read = sum(
        value.const_value.nbytes
        for value in model.graph.initializers.values()
        if value.const_value is not None and any("Gather" not in use.node.op_type for use in value.uses())
    )
    for value in (*model.graph.inputs, *model.graph.outputs):
        if value.shape is not None and value.name is not None and value.name.startswith((PAST_PREFIX, PRESENT_PREFIX)):
            value.shape = ir.Shape([*value.shape[:-1], size])
    ir.save(model, file)
    return read


def build_llama(model: Model, out: Path) -> list[Contender]:
    """Build llama.cpp's Q4_0 with its own tool from the float checkpoint."""
    import gguf
    import llama_cpp as lib

    from compress.benchmarks.engines.llama_cpp import silence_llama_cpp

    silence_llama_cpp()
    floats, file = out / "float", out / "model.gguf"
    write_gguf(model, floats, tokenizer=False)  # it is fed token ids
    options = lib.llama_model_quantize_default_params()
    options.ftype = lib.LLAMA_FTYPE_MOSTLY_Q4_0
    if lib.llama_model_quantize(str(floats).encode(), str(file).encode(), ctypes.byref(options)):
        raise RunError(f"{LLAMA}: llama_model_quantize failed on {model.source}")
    floats.unlink()
    tensors = {tensor.name: int(tensor.n_bytes) for tensor in gguf.GGUFReader(file).tensors}
    looked_up = tensors["token_embd.weight"] if "output.weight" in tensors else 0
    read = sum(tensors.values()) - looked_up
    return [Contender.of_peer(LLAMA, out, "llama.cpp", "llama_model_quantize Q4_0", model, model.parameters, read)]


PEERS = (
    Peer((GENAI, GENAI_ORT), ENGINES["genai"], build_genai),
    Peer((LLAMA,), ENGINES["llama.cpp"], build_llama),
)
