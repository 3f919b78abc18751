"""Export a variant to a runtime.

The package is also the function: ``compress.export(variant)``, so that ``from compress import export`` gives what it
says while ``compress.export.targets`` and the other modules stay where they are.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compress.checkpoint.artifact import Artifact
    from compress.checkpoint.variant import Variant
    from compress.export.lowering.float_graph import GraphSource
    from compress.progress import Progress


def export(
    variant: Variant | str | Path,
    target: str = "ort-cpu",
    out: str | Path | None = None,
    *,
    graph: GraphSource | None = None,
    checkpoint_format: str | None = None,
    max_shard_bytes: int | None = None,
    merge: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Artifact:
    """Write a variant's artifact for a target, verified against torch; nothing is compressed again.

    ``variant``: a variant or its directory. ``target``: the runtime, such as ``ort-cpu``, ``hf`` or ``gguf``. ``out``:
    the artifact's directory; None takes the target's inside the variant, which is replaced, and for another checkpoint
    one next to the variant. ``graph``: where a float graph comes from, ``built`` from a description of the architecture
    or ``traced`` by torch; None takes whichever is correct. ``checkpoint_format``, ``max_shard_bytes``: for the target
    hf. ``merge`` multiplies low-rank products out, for targets that can't hold them. ``overwrite`` replaces an ``out``
    that exists. ``progress`` is told of long work; None is silent.

    Raises UsageError where the target can't hold the variant, ExportError where the artifact isn't the variant's equal,
    MissingComponentError where something that it needs is not installed.
    """
    from compress.checkpoint.variant import Variant
    from compress.export.plan import plan_export  # here: `import compress` must not load torch
    from compress.export.targets.base import find_target
    from compress.progress import Silent

    runtime = find_target(target)
    plan = plan_export(
        variant if isinstance(variant, Variant) else Variant.open(Path(variant)),
        runtime,
        None if out is None else Path(out),
        graph=graph,
        checkpoint_format=checkpoint_format,
        max_shard_bytes=max_shard_bytes,
        merge=merge,
        overwrite=overwrite,
    )
    artifact = plan.run(progress or Silent())
    plan.complete()
    return artifact


class _CallablePackage(ModuleType):
    """This package, which is called like the function."""

    __call__ = staticmethod(export)
    __signature__ = inspect.signature(export)


sys.modules[__name__].__class__ = _CallablePackage
