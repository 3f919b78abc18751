"""Options that the passes of fewer than 8 bits share, and that `int8` has otherwise."""

from __future__ import annotations

import pytest

from compress.errors import UsageError
from compress.passes.base.low_bit import LowBit
from compress.passes.int8 import Int8
from compress.pipeline.contract import choices, passes
from compress.pipeline.parse import parse_pass

LOW = ["int2", "int3", "int4"]


@pytest.mark.parametrize("name", LOW)
def test_groups_and_smoothing_are_never_left_open(name):
    pass_ = parse_pass(name)
    assert isinstance(pass_, LowBit)
    assert (pass_.group, pass_.smooth) == ("32", "off")
    for option in ("group", "smooth"):
        with pytest.raises(UsageError, match=f"{option}=auto: it should be"):
            parse_pass(f"{name}:{option}=auto")


def test_int8_takes_the_same_words_and_auto():
    options, low = Int8.options(), passes()["int4"].options()
    for name in ("group", "smooth"):
        assert set(choices(options[name])) == {"auto", *choices(low[name])}
    assert [name for name in options if name in low] == list(low)
