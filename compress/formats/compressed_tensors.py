"""Format ``compressed-tensors``, that of a variant unless another is asked for: it holds every weight form."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

import compressed_tensors
from torch import Tensor

from compress.formats.base import CheckpointFormat
from compress.formats.packing import decode, encode, quantization_config
from compress.weights.forms import Weight
from compress.weights.stored import DEFAULT_FORMAT, StoredForm


class CompressedTensorsFormat(CheckpointFormat):
    """The library's own packing, scheme by scheme: `compress.formats.packing`."""

    name: ClassVar[str] = DEFAULT_FORMAT

    def encode(self, name: str, weight: Weight, is_linear: bool, is_expert: bool = False) -> dict[str, Tensor]:
        """The checkpoint's tensors of a matrix; a product's are those of its factors."""
        return encode(name, weight, is_linear, is_expert)

    def decode(self, name: str, stored: StoredForm, read: Mapping[str, Tensor]) -> Weight:
        """The matrix as it was encoded."""
        return decode(name, stored, read)

    def config(
        self, weights: Mapping[str, StoredForm], linears: Sequence[str], expert_weights: Collection[str] = ()
    ) -> dict[str, object] | None:
        """A group of settings for every scheme that is there."""
        return quantization_config(weights, list(linears), compressed_tensors.__version__, expert_weights)
