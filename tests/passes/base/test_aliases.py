"""Other projects' names of the integer passes' options. How a pipeline's text takes them is `compress.pipeline`'s."""

from __future__ import annotations

import pytest

from compress.errors import UsageError
from compress.passes.base.aliases import INTEGER_ALIASES
from compress.pipeline.contract import passes
from compress.pipeline.parse import parse_pass

INTEGERS = ["int2", "int3", "int4", "int8"]


@pytest.mark.parametrize("name", INTEGERS)
def test_every_name_stands_for_an_option_that_the_pass_has(name):
    cls = passes()[name]
    assert cls.aliases == INTEGER_ALIASES
    assert {alias.option for alias in INTEGER_ALIASES.values()} - {None} <= set(cls.options())
    assert not set(INTEGER_ALIASES) & set(cls.options())


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("option", ["bits", "num_bits"])
def test_bits_have_to_be_those_of_the_pass(name, option):
    bits, other = name[3:], "8" if name != "int8" else "4"
    assert str(parse_pass(f"{name}:{option}={bits}")) == name
    with pytest.raises(UsageError, match=f"{name} has {bits} bits; use int{other}"):
        parse_pass(f"{name}:{option}={other}")
    with pytest.raises(UsageError, match="there are int2, int3, int4 and int8"):
        parse_pass(f"{name}:{option}=5")
