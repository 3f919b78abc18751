"""Checkpoint formats: base class and registry. A format turns weight forms into tensors, and tensors into weight forms.

A format is a pure pair of `encode` and `decode`, with the ``quantization_config`` that its readers go by. Nothing is
quantized here: the integers are those that the passes made. Subclassing `CheckpointFormat` with a ``name``, in a module
of `compress.formats`, registers it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

from torch import Tensor

import compress.formats
from compress.modeling.architecture import Architecture
from compress.registry import create, import_all
from compress.weights.forms import Weight
from compress.weights.stored import StoredForm

_registry: dict[str, type[CheckpointFormat]] = {}


class CheckpointFormat(ABC):
    """Base class of checkpoint formats: weight forms as tensors, and back."""

    name: ClassVar[str]
    restricted: ClassVar[bool] = False
    """whether there is anything that `unsupported_reason` refuses"""
    required_packages: ClassVar[tuple[str, ...]] = ()
    """the modules that transformers needs to load such a checkpoint, which are no dependency of ours"""

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        if "name" in cls.__dict__:
            _registry[cls.name] = cls

    def unsupported_reason(self, architecture: Architecture, weights: Mapping[str, StoredForm]) -> str | None:
        """Reason why this format can't hold an architecture or its matrices, and the fix; None, the default, if it can.

        ``weights`` are all matrices by name, as a prediction or a manifest tells of them.
        """
        return None

    def as_stored(self, weight: Weight) -> Weight:
        """A matrix as this format holds it, which is what its readers compute with; by default as it is."""
        return weight

    @abstractmethod
    def encode(self, name: str, weight: Weight, is_linear: bool, is_expert: bool = False) -> dict[str, Tensor]:
        """The checkpoint's tensors of the matrix ``name`` (``….weight``).

        ``is_linear``: it is a linear's, not a table of rows; ``is_expert``: only some tokens reach it.
        """

    @abstractmethod
    def decode(self, name: str, stored: StoredForm, read: Mapping[str, Tensor]) -> Weight:
        """The matrix ``name`` exactly as it was encoded; ``read`` gives the checkpoint's tensors by name."""

    @abstractmethod
    def config(
        self, weights: Mapping[str, StoredForm], linears: Sequence[str], expert_weights: Collection[str] = ()
    ) -> dict[str, object] | None:
        """The ``quantization_config`` of ``config.json``, or None where nothing is quantized.

        ``weights`` by the names that they are written by; ``linears`` are all linears' weights, ``expert_weights``
        those of experts.
        """

    def loads_whole(self, config: Mapping[str, object]) -> bool:
        """Whether transformers can unpack a checkpoint of this ``quantization_config`` as it loads it.

        By default it can't, and does so as the model is first called. What calls its ``forward`` instead, as
        sentence-transformers 6 does, would run packed integers.
        """
        return False

    def extra_files(self, config: Mapping[str, object]) -> Mapping[str, object]:
        """JSON files that readers look for beside ``config.json``, by name; by default there are none."""
        return {}


def formats() -> dict[str, type[CheckpointFormat]]:
    """Every known format by name: one in each module of `compress.formats` that defines one."""
    import_all(compress.formats)
    return dict(sorted(_registry.items()))


def find_format(name: str) -> CheckpointFormat:
    """The format of that name; a UsageError with the nearest one where there is none."""
    return create("format", name, formats())
