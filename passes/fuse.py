"""Pass ``fuse``: fewer, larger operators. It asks the graph source for its fused graph and packs what that leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic.dataclasses import dataclass

from compress.contract import GraphPass

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class Fuse(GraphPass):
    """One operator each for norms with skips, attention with cache and rotary, packed q/k/v, gate/up, activations."""

    name: ClassVar[str] = "fuse"

    def rewrite(self, model: ir.Model) -> int:
        """Rewrite in place; returns how many places changed."""
        from onnx_ir.passes.common import RemoveUnusedNodesPass

        from compress.passes.fusions import FUSIONS

        changed = sum(fusion(model.graph) for fusion in FUSIONS)
        RemoveUnusedNodesPass()(model)
        model.graph.sort()
        return changed
