"""The public face: what ``compress`` itself offers, and what importing it costs."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import compress

NAMES = ["Model", "Pipeline", "Variant", "compress_model", "export", "score"]


def run(code: str) -> str:
    """What a program prints in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_face_is_these_names() -> None:
    assert compress.__all__ == NAMES
    assert set(NAMES) <= set(dir(compress))


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there_and_documented(name: str) -> None:
    value = getattr(compress, name)
    assert callable(value)
    assert inspect.getdoc(value)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'compress' has no attribute 'nothing'"):
        compress.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_importing_the_package_loads_nothing() -> None:
    code = (
        "import sys, compress; print([m for m in ('torch', 'transformers', 'click', 'pydantic') if m in sys.modules])"
    )
    assert run(code) == "[]"


def test_export_is_a_function_and_a_package() -> None:
    from compress.api.export import export

    assert inspect.signature(compress.export) == inspect.signature(export)
    code = (
        "from compress import export; import compress.export.lowering.emitter; import compress\n"
        "print(compress.export is export, callable(export), compress.export.lowering.emitter.__name__)"
    )
    assert run(code) == "True True compress.export.lowering.emitter"
