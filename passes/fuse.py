"""Pass ``fuse``: fewer, larger operators. It asks the graph source for its fused graph and packs what that leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic.dataclasses import dataclass

from compress.architecture import head_size
from compress.contract import GraphPass
from compress.errors import UsageError

if TYPE_CHECKING:
    import onnx_ir as ir

    from compress.model import Model

_HEAD_MULTIPLE = 8


@dataclass(frozen=True)
class Fuse(GraphPass):
    """One operator each for norms with skips, attention with cache and rotary, packed q/k/v, gate/up, activations."""

    name: ClassVar[str] = "fuse"

    def settle(self, model: Model) -> Self:
        """Refuse heads that onnxruntime's GroupQueryAttention can't take."""
        size = head_size(model.config)
        if model.kind == "decoder" and size % _HEAD_MULTIPLE:
            raise UsageError(
                f"fuse: heads of size {size} can't be fused, {_HEAD_MULTIPLE} must divide it; leave fuse out"
            )
        return self

    def rewrite(self, model: ir.Model) -> int:
        """Rewrite in place; returns how many places changed."""
        from onnx_ir.passes.common import RemoveUnusedNodesPass

        from compress.passes.fusions import FUSIONS

        changed = sum(fusion(model.graph) for fusion in FUSIONS)
        RemoveUnusedNodesPass()(model)
        model.graph.sort()
        return changed
