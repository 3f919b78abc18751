"""Pass ``fuse``: fewer, larger operators. It asks the graph source for its fused graph and packs what that leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field
from pydantic.dataclasses import dataclass

from compress.errors import UsageError
from compress.pipeline.contract import GraphPass

if TYPE_CHECKING:
    import onnx_ir as ir

    from compress.checkpoint.base import ModelOutline
    from compress.pipeline.contract import TargetCapability

_HEAD_MULTIPLE = 8


@dataclass(frozen=True)
class Fuse(GraphPass):
    """One operator each for norms with skips, attention with cache and rotary, packed q/k/v, gate/up, activations."""

    name: ClassVar[str] = "fuse"

    kv: Literal["float", "int8"] = Field(
        "float",
        description="a decoder's cache of keys and values: 32-bit floats, or int8 with one scale a channel, whose "
        "ranges are taken from the model at export",
    )

    def resolve(self, model: ModelOutline, target: TargetCapability) -> Self:
        """Refuse heads that onnxruntime's GroupQueryAttention can't take, and a cache where there is none."""
        if model.kind.is_seq2seq and self.kv != "float":
            raise UsageError(f"fuse: an encoder-decoder's cache is float; leave out kv={self.kv}")
        if not model.kind.is_decoder_only and self.kv != "float":
            raise UsageError(f"fuse: an encoder keeps no keys and values; leave out kv={self.kv}")
        from compress.modeling.architecture import head_size

        size = head_size(model.config)
        if model.kind.is_decoder_only and size % _HEAD_MULTIPLE:
            raise UsageError(
                f"fuse: heads of size {size} can't be fused, {_HEAD_MULTIPLE} must divide it; leave fuse out"
            )
        return self

    def rewrite(self, model: ir.Model) -> int:
        """Rewrite in place; returns how many places changed."""
        from onnx_ir.passes.common import RemoveUnusedNodesPass

        from compress.passes.graph.fusions import FUSIONS
        from compress.passes.graph.int8_cache import round_cache

        changed = sum(fusion(model.graph) for fusion in FUSIONS)
        if self.kv == "int8":
            changed += round_cache(model.graph)
        RemoveUnusedNodesPass()(model)
        model.graph.sort()
        return changed
