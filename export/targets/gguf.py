"""Target ``gguf``: one file for llama.cpp and what is built on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from compress.checkpoint.base import Checkpoint
from compress.checkpoint.files.artifact import Artifact
from compress.errors import ExportError, UsageError
from compress.export.gguf import blocks, file
from compress.export.targets.base import Target
from compress.modeling.architecture import Architecture
from compress.pipeline.contract import GraphPass, TargetCapability
from compress.progress import Progress
from compress.weights.forms import Dense, Masked, Quantized
from compress.weights.stored import StoredForm

FILE = "model.gguf"


class Gguf(Target):
    """Holds floats, and integers of 4 bits (Q4_0, with zero points Q4_1) and 8 bits (Q8_0) in groups of 32s."""

    name = "gguf"
    folder = "gguf"
    fix = "--merge stores such a matrix multiplied out, as one dense matrix; --target ort-cpu holds it as it is"
    capability = TargetCapability(name, (Dense, Masked, Quantized), bits=frozenset({4, 8}), graphs=False)
    restricted = True

    def check_weights(self, architecture: Architecture, weights: Mapping[str, StoredForm]) -> None:
        """Refuse architectures and matrices that GGUF can't hold."""
        if reason := file.unsupported_reason(architecture.config):
            raise UsageError(f"gguf can't hold {reason}; choose another target")
        super().check_weights(architecture, weights)
        for name, form in weights.items():
            if reason := blocks.unsupported_reason(name, form):
                raise UsageError(f"gguf can't hold {reason}")

    def export(
        self, checkpoint: Checkpoint, graph_passes: Sequence[GraphPass], out: Path, progress: Progress
    ) -> Artifact:
        """Write the file, and read it back with the format's own library to the same numbers, else ExportError."""
        path = out / FILE
        if reason := file.write_gguf(checkpoint, path):
            progress.notice(f"the GGUF has no tokenizer ({reason}); callers must pass token ids")
        sizes, rounding = _verify(checkpoint, path)
        if rounding:
            progress.notice(
                f"gguf has float16 scales: the variant's are rounded, by up to {100 * rounding:.2g} % of a matrix's"
            )
        looked_up = sizes["token_embd.weight"] if "output.weight" in sizes else 0
        total = sum(sizes.values())
        artifact = Artifact(out, self.name, checkpoint.kind, checkpoint.parameters, total, total - looked_up)
        artifact.save()
        return artifact


def _verify(checkpoint: Checkpoint, path: Path) -> tuple[dict[str, int], float]:
    """The bytes of every tensor by name, each read back by the library ``gguf`` to exactly what was meant; and how far
    scales were moved at most."""
    from gguf import GGUFReader
    from gguf.quants import dequantize

    stored = {tensor.name: tensor for tensor in GGUFReader(path).tensors}
    rounding = 0.0
    for name, encoded in file.tensors(checkpoint):
        rounding = max(rounding, encoded.scale_rounding_error)
        values = dequantize(stored[name].data, stored[name].tensor_type)
        if not np.array_equal(values, encoded.values.numpy()):
            raise ExportError(f"gguf reads other numbers than the variant holds in {name}; nothing was written")
    return {name: int(tensor.n_bytes) for name, tensor in stored.items()}, rounding
