"""Export variants to runtimes; the package is callable too, as the function that exports one.

``from compress import export`` gives this package, as any import of a package does, and ``export(variant)`` calls
`compress.api.export.export`. So the function has the name that a user expects, and the modules keep theirs.
"""

from __future__ import annotations

import sys
from inspect import Signature, signature
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compress.checkpoint.files.artifact import Artifact


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Artifact:
        from compress.api.export import export  # here: the modules of this package don't need it

        return export(*args, **options)

    @property
    def __signature__(self) -> Signature:
        from compress.api.export import export

        return signature(export)


sys.modules[__name__].__class__ = _CallablePackage
