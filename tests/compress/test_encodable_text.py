"""A field of a pydantic model takes any name of a file, and goes to JSON."""

import os

import pytest
from pydantic import BaseModel, ValidationError

from compress.encodable_text import EncodableText


class Named(BaseModel):
    name: EncodableText


def test_a_name_of_any_bytes_goes_to_json_and_back():
    named = Named(name=os.fsdecode(b"a\xff\n\x1b"))
    assert named.name == "a\\udcff\n\x1b"
    assert Named.model_validate_json(named.model_dump_json()) == named


def test_what_is_no_text_is_refused():
    with pytest.raises(ValidationError):
        Named(name=1)
