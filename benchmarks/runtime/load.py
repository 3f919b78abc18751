"""Load a model in an engine, importing its libraries on demand."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from compress.benchmarks.runtime.engine import Opener
from compress.benchmarks.runtime.specs import ENGINES
from compress.errors import RunError
from compress.modeling.kinds import TaskKind


def load_engine(name: str, path: Path, kind: TaskKind, threads: int) -> object:
    """Load the model in a directory in the engine of a name; `engine` has the protocols to check it against.

    Raises RunError for a name that no engine for the kind has.
    """
    classes = {spec.name: spec.seq2seq if kind.is_seq2seq else spec.cls for spec in ENGINES.values()}
    cls = classes.get(name)
    if cls is None:
        raise RunError(f"no engine runs {name!r}; there are {', '.join(name for name, cls in classes.items() if cls)}")
    folder = "engines.seq2seq" if kind.is_seq2seq else "engines"
    opener: Opener[object] = getattr(import_module(f"compress.benchmarks.{folder}.{ENGINES[name].module}"), cls)
    return opener(path, kind, threads)
