"""Pass ``fuse``: fewer, larger operators. It asks the graph source for its fused graph and packs what that leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field
from pydantic.dataclasses import dataclass

from compress.errors import UsageError
from compress.pipeline.contract import GraphPass

if TYPE_CHECKING:
    import onnx_ir as ir

    from compress.checkpoint.base import ModelOutline
    from compress.pipeline.contract import TargetCapability


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
        """Refuse an int8 cache where there is none, or where attention isn't the operator that has one."""
        if model.kind.is_seq2seq and self.kv != "float":
            raise UsageError(f"fuse: an encoder-decoder's cache is float; leave out kv={self.kv}")
        if not model.kind.is_decoder_only and self.kv != "float":
            raise UsageError(f"fuse: an encoder keeps no keys and values; leave out kv={self.kv}")
        if self.kv != "float" and (reason := _standard_reason(model, target)):
            raise UsageError(f"fuse: kv={self.kv} needs fused attention, which can't be had ({reason}); leave out kv")
        return self

    def notices(self, model: ModelOutline, target: TargetCapability) -> Sequence[str]:
        """What of attention stays outside of the fused operator."""
        from compress.modeling.rotations import unrotated_reason  # here: it imports torch

        if not model.kind.is_decoder_only:
            return ()
        if reason := _standard_reason(model, target):
            return (f"attention stays a standard operator ({reason}); all else is fused",)
        if reason := unrotated_reason(model.config):
            return (f"queries and keys are rotated before the fused attention ({reason}); all else is fused",)
        return ()

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


def _standard_reason(model: ModelOutline, target: TargetCapability) -> str | None:
    """Say why a decoder's attention can't be fused for a target; None where it can."""
    from compress.modeling.rotations import switches, ungrouped_reason, unrotated_reason  # as above

    if switches(model.config) and not target.groups_switching:
        return unrotated_reason(model.config)
    return ungrouped_reason(model.config)
