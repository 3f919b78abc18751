"""Block of a model: the matrices that are compressed at one time, and the folds that move scales between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeVar

from torch import Tensor

from compress.modeling.architecture import head_size
from compress.modeling.families import FAMILIES
from compress.weights.forms import Weight
from compress.weights.stored import WeightReport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import PretrainedConfig

T = TypeVar("T")

BlockRole = Literal["layer", "embedding", "head", "tied", "rest", "model"]


@dataclass(frozen=True)
class Fold:
    """A place where inputs can be divided by a scale: ``source`` is divided, the columns of ``consumers`` multiplied.

    ``source`` is a norm's gain (a vector), or a matrix whose output rows feed the consumers elementwise. Where a source
    channel feeds several consumer channels (grouped-query attention: one value head serves ``repeat`` query heads of
    ``head`` channels), they share a scale.
    """

    source: str
    consumers: tuple[str, ...]
    repeat: int = 1
    head: int = 1


@dataclass
class Block:
    """A part of a model, by the checkpoint's names: its matrices (``weights``) and other tensors (``vectors``).

    Passes replace entries of the two; nothing else changes a model. What they make narrower or leave out, they also say
    of the variant's config (`WeightPass.resize`).

    ``role``: a repeated layer, the token embedding, the head, both of them in one (``tied``), or what is left over (the
    last norm, position tables), which has no weights, only vectors; or all of that in one (``model``). A pass that
    knows how it found a matrix and what that cost says so in ``reports``; for the others the runner compares what came
    with what was left. A layer that is ``dropped`` hands its inputs on as they are and isn't written. Nor is a
    ``draft``, which the layers are calibrated on and which comes again.
    """

    name: str
    role: BlockRole
    weights: dict[str, Weight]
    vectors: dict[str, Tensor]
    folds: Sequence[Fold] = ()
    reports: dict[str, WeightReport] = field(default_factory=dict)
    dropped: bool = False
    draft: bool = False

    @property
    def stack(self) -> str:
        """The path of the list that a layer is in."""
        return self.name.rpartition(".")[0]

    def numbered(self, index: int) -> Block:
        """A layer renamed to the layer ``index``; another block as it is."""
        if self.role != "layer":
            return self
        name = f"{self.stack}.{index}"

        def renamed(tensors: Mapping[str, T]) -> dict[str, T]:
            return {f"{name}{key.removeprefix(self.name)}": tensor for key, tensor in tensors.items()}

        weights, vectors, reports = renamed(self.weights), renamed(self.vectors), renamed(self.reports)
        return replace(self, name=name, weights=weights, vectors=vectors, folds=(), reports=reports)


def folds_of(config: PretrainedConfig, prefix: str, names: frozenset[str]) -> tuple[Fold, ...]:
    """The folds that a layer offers, by its parameters' names; none for an unknown layout.

    Pre-norm layers fold into the norm's gain, ``up`` into ``down`` and ``v`` into ``o`` (SmoothQuant, arXiv 2211.10438,
    and its successors). A post-norm encoder's norms also feed the residual stream, so only ``value`` into the output
    projection remains there.
    """

    def full(*parts: str) -> tuple[str, ...]:
        return tuple(f"{prefix}.{part}.weight" for part in parts)

    heads = getattr(config, "num_attention_heads", 1)
    size = head_size(config)
    repeat = heads // (getattr(config, "num_key_value_heads", None) or heads)
    gated = f"{prefix}.mlp.gate_proj.weight" in names  # without a gate, an activation stands between up and down
    family = FAMILIES.get(config.model_type)
    candidates = [
        *((norm, readers, 1) for norm, readers in (family.gains if family else ())),
        *([("mlp.up_proj", ("mlp.down_proj",), 1)] if gated else []),
        ("self_attn.v_proj", ("self_attn.o_proj",), repeat),
        ("self_attn.v_proj", ("self_attn.out_proj",), 1),
        ("attn.v_proj", ("attn.out_proj",), 1),
        ("attention.v_proj", ("attention.o_proj",), 1),
        ("attention.self.value", ("attention.output.dense",), 1),
        ("attention.self.value_proj", ("attention.output.dense",), 1),
        ("attention.attn.v", ("attention.attn.o",), 1),
        ("attention.v_lin", ("attention.out_lin",), 1),
        ("encoder_attn.v_proj", ("encoder_attn.out_proj",), 1),
        ("layer.0.SelfAttention.v", ("layer.0.SelfAttention.o",), 1),
        ("layer.1.EncDecAttention.v", ("layer.1.EncDecAttention.o",), 1),
        *((f"layer.{i}.DenseReluDense.wi_1", (f"layer.{i}.DenseReluDense.wo",), 1) for i in (1, 2)),
    ]
    offered = (
        Fold(full(src)[0], full(*consumers), times, size if times > 1 else 1) for src, consumers, times in candidates
    )
    return tuple(fold for fold in offered if {fold.source, *fold.consumers} <= names)
