"""Option ``skip``: patterns of the matrices that a pass leaves alone."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from compress.errors import UsageError
from compress.pipeline.alias import Alias

if TYPE_CHECKING:
    from compress.checkpoint.base import ModelOutline

SKIP = "matrices to leave float: patterns of names, joined by +, like *.down_proj.weight"
"""The option's description."""


def _from_module_names(pass_type: type, value: str) -> str:
    """Module names as patterns of their weights' names."""
    if "re" in value.split("+"):  # what followed its colon is another word
        raise ValueError("patterns here have * and ?, no regular expressions; write it like ignore=*.down_proj")
    return "+".join(name if name.endswith(("weight", "*")) else f"{name}.weight" for name in value.split("+"))


IGNORE = Alias("skip", _from_module_names)
"""compressed-tensors' name of the option."""


@dataclass(frozen=True)
class Skipped:
    """Matrices that patterns name, as written: joined by ``+``; none where the text is empty."""

    text: str

    def __contains__(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self._patterns)

    def check(self, pass_name: str, model: ModelOutline) -> None:
        """Raise a UsageError in the name of a pass for a pattern that matches no matrix of a model."""
        for pattern in self._patterns:
            if not any(fnmatchcase(name, pattern) for name in model.matrices):
                example = next(iter(model.matrices), "")
                raise UsageError(f"{pass_name}: skip={pattern} matches no matrix; their names are like {example}")

    @property
    def _patterns(self) -> list[str]:
        return self.text.split("+") if self.text else []
