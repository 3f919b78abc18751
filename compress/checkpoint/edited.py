"""A model whose tensors are edited as they are read: a pass's own version of the user's checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Self

from torch import Tensor

from compress.checkpoint.model import Model

if TYPE_CHECKING:
    pass

Edit = Callable[[str, Tensor], Tensor]
"""A tensor's new numbers by its name and its old ones; a linear's matrix is ``[out, in]``."""


@dataclass(frozen=True)
class EditedModel(Model):
    """A model with the same names and shapes, and other numbers: those that ``edit`` makes of the checkpoint's."""

    edit: Edit = lambda name, tensor: tensor

    @classmethod
    def of(cls, model: Model, edit: Edit) -> Self:
        """A model with its tensors edited."""
        return cls(**{field.name: getattr(model, field.name) for field in fields(model)}, edit=edit)

    def tensor(self, name: str) -> Tensor:
        """A tensor in its new form, laid as the checkpoint lays it."""
        original = self.architecture.to_out_in(name, super().tensor(name))
        return self.architecture.to_stored_layout(name, self.edit(name, original))


def untied(model: Model) -> Model:
    """The model with a head of its own, with the numbers of the embedding; itself where it has one."""
    if not model.tied:
        return model
    architecture = model.architecture.with_tied_head(False)
    head, embedding = architecture.outline.head, architecture.outline.embedding
    assert head is not None and embedding is not None, "what is tied is a head and an embedding"
    return replace(model, architecture=architecture, stored={**model.stored, head: model.stored[embedding]})
