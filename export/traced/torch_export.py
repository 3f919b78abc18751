"""Trace one torch module into one ONNX graph by torch's exporter."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

import onnx_ir as ir
import torch
from onnx_ir.passes.common import LiftConstantsToInitializersPass, RemoveUnusedNodesPass
from onnx_ir.tensor_adapters import from_torch_dtype
from onnxscript import optimizer
from torch import Tensor, nn

from compress.errors import ExportError
from compress.graph.builder import required
from compress.modeling.quiet import first_line

OPSET = 23
"""The first with attention and rotary embeddings."""


@dataclass(frozen=True)
class ExampleInput:
    """A tensor that a module is traced with: the sizes of an ``example``, whether each ``varies``, and its type."""

    example: tuple[int, ...]
    varies: tuple[bool, ...]
    dtype: torch.dtype = torch.float32

    @classmethod
    def like(cls, traced: Tensor) -> ExampleInput:
        """Example for a tensor that is being traced: a size that varies there varies here."""
        sizes: list[Any] = list(traced.shape)
        varies = tuple(not isinstance(size, int) for size in sizes)
        return cls(tuple(size if isinstance(size, int) else size.node.hint for size in sizes), varies, traced.dtype)

    def tensor(self, device: str = "cpu") -> Tensor:
        """Tensor of ones of these sizes, ``[*example]``."""
        return torch.ones(self.example, dtype=self.dtype, device=device)

    @property
    def sizes(self) -> dict[int, object]:
        """Dynamic sizes in torch's terms."""
        return {i: torch.export.Dim.AUTO for i, varies in enumerate(self.varies) if varies}


def trace_module(
    module: nn.Module, inputs: Sequence[ExampleInput], names: Sequence[str], outputs: Sequence[str], description: str
) -> ir.Model:
    """Trace a module that is called with a list of ``inputs``; constants are folded, weights are not.

    Initializers have the names that tensors have in the module; those of its ``state_dict`` come without values.
    ``description`` says in an ExportError which module it was that torch can't trace.
    """
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                module,
                args=([example.tensor() for example in inputs],),
                input_names=list(names),
                output_names=list(outputs),
                dynamic_shapes=([example.sizes for example in inputs],),
                opset_version=OPSET,
                dynamo=True,
                optimize=False,
                verbose=False,
            )
    except ExportError:
        raise
    except Exception as error:  # a module's own code may raise anything, and torch's exporter has classes of its own
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        raise ExportError(f"torch can't trace {description}: {first_line(cause)}") from error
    model = required(program).model
    weights = module.state_dict()
    for name, value in model.graph.initializers.items():
        if name in weights:
            value.shape = ir.Shape(weights[name].shape)
            value.type = ir.TensorType(from_torch_dtype(weights[name].dtype))
            value.const_value = None
    with _quiet():
        optimizer.optimize(model)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    RemoveUnusedNodesPass()(model)
    _drop_notes(model.graph)
    return model


def _drop_notes(graph: ir.Graph) -> None:
    """Drop what torch notes of its source: lines of code and paths of this machine, most of a small graph's bytes."""
    graph.metadata_props.clear()
    for node in graph:
        node.metadata_props.clear()
    for value in (*graph.inputs, *graph.initializers.values(), *(value for node in graph for value in node.outputs)):
        value.metadata_props.clear()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what torch's exporter logs, warns of and prints off the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "torch.fx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
