"""Artifact: the directory of an exported model, with the facts that a score needs (``artifact.json``)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from compress.errors import ModelError
from compress.modeling.kinds import KINDS, TaskKind
from compress.system.regular_files import read_json

FILE = "artifact.json"
FOLDER = "onnx"
"""The directory of a variant's artifact, inside the variant's."""


@dataclass(frozen=True)
class Artifact:
    """An exported model: ``path`` is the directory that the target loads.

    ``parameters`` counts the source's weights (tied ones once); ``stored_bytes`` is what they take here;
    ``read_bytes`` is what decoding one token reads (everything but the rows of the embedding that it doesn't look up).
    """

    path: Path
    target: str
    kind: TaskKind
    parameters: int
    stored_bytes: int
    read_bytes: int
    zeros: bool = False
    """whether matrices hold zeros on purpose, which this runtime computes with like with any other number"""
    products: bool = False
    """whether matrices are multiplied part by part"""
    context: int | None = None
    """tokens of the longest text that it serves, where that is limited"""

    def save(self) -> None:
        """Write the facts beside the artifact."""
        facts = {k: v for k, v in asdict(self).items() if k != "path"} | {"kind": self.kind.name}
        (self.path / FILE).write_text(json.dumps(facts, indent=2) + "\n")

    @classmethod
    def open(cls, path: Path) -> Artifact:
        """Read an artifact's facts; a directory that holds none is a ModelError."""
        try:
            facts = read_json(path / FILE)
            artifact = cls(path=path, **facts | {"kind": KINDS[facts["kind"]]})
            artifact._check_types()
        except (ModelError, TypeError, LookupError) as error:
            raise ModelError(f"{path} is not an artifact: its {FILE} can't be read ({error})") from error
        return artifact

    def _check_types(self) -> None:
        """Raise TypeError for a fact of another type, or a number that no model has."""
        types = {"target": str, "zeros": bool, "products": bool}
        for name, value in vars(self).items():
            if name in types and not isinstance(value, types[name]):
                raise TypeError(f"{name} is {value!r}")
            if name == "context" and value is None:
                continue
            least = {"parameters": 1, "stored_bytes": 0, "read_bytes": 0, "context": 1}.get(name)
            if least is not None and (type(value) is not int or not least <= value <= 1 << 53):
                raise TypeError(f"{name} is {value!r}, no number of them")
