"""Target ``tensorrt``: a strongly typed graph of standard operators, checked here, and the engine made of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import onnx_ir as ir
import torch
from onnx_ir.tensor_adapters import from_torch_dtype
from transformers import PretrainedConfig

from compress.checkpoint.base import Checkpoint
from compress.errors import UsageError
from compress.export.lowering import qdq
from compress.export.lowering.decompose import decompose
from compress.export.lowering.lower import Nodes
from compress.export.parity.verify import compute_dtype
from compress.export.source import unsupported_reason
from compress.export.targets.base import OnnxTarget, weight_only_capability
from compress.export.trt.build import build_engine, shape_profiles, write_script
from compress.export.trt.lint import lint_graph
from compress.modeling.architecture import Architecture
from compress.modeling.families import family_of
from compress.onnx_names import MODEL_FILE
from compress.weights.forms import leaves, mask_of
from compress.weights.stored import StoredForm

_OPSET, _IR_VERSION = 21, 10
"""The first with blocks of integers; every TensorRT 11 reads it."""
_LONGEST = 2048
"""Tokens of a text that the engine makes room for."""


def _unsupported_reason(config: PretrainedConfig) -> str | None:
    """Name what has no graph, and vision models, whose shapes an engine's profiles don't cover yet."""
    family = family_of(config.model_type)
    is_vision = family is not None and family.kind.is_vision
    return f"{config.model_type} models" if is_vision else unsupported_reason(config)


class TensorRt(OnnxTarget):
    """Holds floats, 8-bit integers with one scale a channel and 4-bit ones in blocks, without zero points.

    The graph is computed in the type of the checkpoint's vectors: the passes ``fp16`` and ``bf16`` choose it.
    """

    name = "tensorrt"
    folder = "tensorrt"
    nodes: ClassVar[Nodes] = qdq
    groups_attention = False
    capability = weight_only_capability(name, graphs=False, unsupported_reason=_unsupported_reason)
    restricted = True

    def check_weights(self, architecture: Architecture, weights: Mapping[str, StoredForm]) -> None:
        """Refuse integers that explicit dequantization doesn't hold in TensorRT."""
        super().check_weights(architecture, weights)
        for name, form in weights.items():
            if reason := qdq.unsupported_reason(name, form, name in architecture.outline.tables):
                raise UsageError(f"tensorrt can't hold {reason}")

    def dtype(self, checkpoint: Checkpoint) -> torch.dtype:
        """Floating-point type of the checkpoint's vectors."""
        return compute_dtype(checkpoint)

    def prepare(self, model: ir.Model) -> None:
        """Decompose to standard operators, of an opset that TensorRT reads."""
        decompose(model)
        defaults = [value for value in model.graph.inputs if value.is_initializer()]
        for value in defaults:  # an engine has no inputs that may be left out
            model.graph.inputs.remove(value)
        model.opset_imports[""], model.ir_version = _OPSET, _IR_VERSION

    def check_graph(self, model: ir.Model, dtype: torch.dtype) -> None:
        """Raise an ExportError for what TensorRT would refuse."""
        lint_graph(model, from_torch_dtype(dtype))

    def skips_zeros(self, checkpoint: Checkpoint) -> bool:
        """Whether TensorRT's sparse kernels apply: two in every four inputs are zero."""
        return _is_sparse(checkpoint)

    def after(self, model: ir.Model, checkpoint: Checkpoint, out: Path) -> None:
        """Write ``build.sh``."""
        write_script(out, shape_profiles(model, _longest_text(checkpoint)), _is_sparse(checkpoint))

    def complete(self, checkpoint: Checkpoint, folder: Path) -> None:
        """Build the engine of the graph in ``folder``; a MissingComponentError where that can't be done."""
        profiles = shape_profiles(ir.load(folder / MODEL_FILE), _longest_text(checkpoint))
        build_engine(folder, profiles, _is_sparse(checkpoint))


def _longest_text(checkpoint: Checkpoint) -> int:
    return min(checkpoint.longest_served, _LONGEST)


def _is_sparse(checkpoint: Checkpoint) -> bool:
    """Whether zeros are kept on purpose, and lie two in every four inputs wherever they are."""
    masked = [name for name, form in checkpoint.stored_forms.items() if any(leaf.masked for leaf in form.leaves)]
    masks = [mask for name in masked for leaf in leaves(checkpoint.weight(name)) if (mask := mask_of(leaf)) is not None]
    fours = [mask.unflatten(1, (-1, 4)).sum(2) if mask.shape[1] % 4 == 0 else None for mask in masks]
    return bool(masks) and all(four is not None and bool((four <= 2).all()) for four in fours)
