"""Options by the names and values that other projects have for them."""

import pytest

from compress.errors import UsageError
from compress.pipeline.parse import Pipeline


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("int4:group_size=128:symmetric=false", "int4:group=128:symmetry=asym"),
        ("int4:bits=4:group_size=-1", "int4:group=channel"),
        ("int8:num_bits=8:symmetric=True", "int8"),
        ("int4:actorder=weight", "int4"),
        ("int4:actorder=static", "int4"),
        ("int4:actorder=null", "int4:order=natural"),
        ("int4:ignore=lm_head+*.down_proj", "int4:skip=lm_head.weight+*.down_proj.weight"),
        ("lowrank:rank=0.5:ignore=*.o_proj.weight", "lowrank:rank=0.5:skip=*.o_proj.weight"),
        ("sparse24:ignore=model.layers.0.*", "sparse24:skip=model.layers.0.*"),
        ("W4A16:group_size=32", "int4"),
    ],
)
def test_another_name_is_the_option(theirs, ours):
    assert str(Pipeline.parse(theirs)) == ours
    assert Pipeline.parse(theirs).slug == Pipeline.parse(ours).slug


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("int4:bits=3", "pass 'int4': bits=3: int4 has 4 bits; use int3"),
        ("int8:bits=5", "pass 'int8': bits=5: int8 has 8 bits; there are int2, int3, int4 and int8"),
        ("int4:symmetric=maybe", "pass 'int4': symmetric=maybe: it should be true or false"),
        (
            "int4:actorder=group",
            "pass 'int4': actorder=group: groups that follow the order need an index of every input at run time; use "
            "actorder=weight",
        ),
        (
            "int4:ignore=re:.*lm_head",
            "pass 'int4': ignore=re: patterns here have * and ?, no regular expressions; write it like "
            "ignore=*.down_proj",
        ),
        ("int4:group=64:group_size=64", "pass 'int4': group_size is another name of group, which is given as well"),
        ("int4:group_size=64:group=64", "pass 'int4': option 'group' is given twice"),
        ("int4:group_size=", "pass 'int4': option 'group_size' has no value; write it like group_size=value"),
        ("int4:group_size=48", "pass 'int4': group=48: it should be '32', '64', '128' or 'channel'"),
    ],
)
def test_a_value_that_means_nothing_here_is_refused_in_one_line(text, message):
    with pytest.raises(UsageError) as error:
        Pipeline.parse(text)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
