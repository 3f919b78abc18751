"""Table of engines: class, files, target, libraries and how to install them.

Nothing heavy is imported here: the command line reads the table before it knows what to load.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compress.onnx_names import ENGINE_FILE

_EXPORTED = (("*.onnx", "*.onnx.data*"),)


@dataclass(frozen=True)
class EngineSpec:
    """Row of an engine, by the ``name`` that reports show.

    ``cls`` is its class in the module of its name (`module`), ``seq2seq`` the one for encoder-decoders, where there is
    one. ``files``: sets of glob patterns, of which the first that matches anything is what it loads. ``target``: whose
    artifacts it runs. ``libraries``: the modules that it imports, which ``extra`` of compress-models installs.
    ``runs_as``: the form that it runs weights in, where it isn't the stored one.
    """

    name: str
    cls: str
    files: tuple[tuple[str, ...], ...]
    seq2seq: str | None = None
    target: str | None = None
    libraries: tuple[str, ...] = ()
    extra: str | None = None
    runs_as: str | None = None

    @property
    def module(self) -> str:
        """The name of its module."""
        return self.name.replace("-", "_").replace(".", "_")

    @property
    def install(self) -> str:
        """The command that installs what it needs."""
        return f"pip install 'compress-models[{self.extra}]'" if self.extra else "pip install compress-models"


ENGINES: Mapping[str, EngineSpec] = {
    spec.name: spec
    for spec in (
        # pickled weights lie idle where safetensors lie beside them
        EngineSpec("torch", "TorchEngine", (("*.safetensors",), ("*.bin",)), seq2seq="TorchSeq2SeqEngine"),
        EngineSpec(
            "hf", "HfEngine", (("*.safetensors",),), seq2seq="HfSeq2SeqEngine", target="hf",
            runs_as="float32 in transformers",
        ),
        EngineSpec(
            "ort-cpu", "OrtCpuEngine", _EXPORTED, seq2seq="OrtCpuSeq2SeqEngine", target="ort-cpu",
            libraries=("onnxruntime",), extra="cpu",
        ),
        EngineSpec("ort-cuda", "OrtCudaEngine", _EXPORTED, target="ort-cuda", libraries=("onnxruntime",), extra="gpu"),
        EngineSpec(
            "tensorrt", "TensorrtEngine", ((ENGINE_FILE,),), target="tensorrt", libraries=("tensorrt", "cuda"),
            extra="gpu",
        ),
        EngineSpec("genai", "GenaiEngine", _EXPORTED, libraries=("onnxruntime_genai",), extra="cpu"),
        EngineSpec(
            "llama.cpp", "LlamaCppEngine", (("*.gguf",),), target="gguf", libraries=("llama_cpp",), extra="peers"
        ),
    )
}  # fmt: skip
"""Every engine by its name."""


def spec_of_target(target: str) -> EngineSpec | None:
    """The engine that runs a target's artifacts; None where none does."""
    return next((spec for spec in ENGINES.values() if spec.target == target), None)


def spec_of_library(library: str) -> EngineSpec | None:
    """The first engine that imports a module of that name; None where none does."""
    return next((spec for spec in ENGINES.values() if library in spec.libraries), None)
