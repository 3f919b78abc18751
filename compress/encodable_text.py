"""Field type of pydantic models that a file's name may come into, and that go to JSON."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator

from compress.escape import encodable


def _encodable(value: object) -> object:
    return encodable(value) if isinstance(value, str) else value


EncodableText = Annotated[str, BeforeValidator(_encodable)]
"""A string; bytes of a name that are no UTF-8 are spelled out."""
