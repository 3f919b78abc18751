import pytest

from compress.errors import UsageError
from compress.pipeline import Pipeline


def test_a_pipeline_reads_back_as_it_was_written():
    assert str(Pipeline.parse("fp16, int8:group=32,fuse")) == "fp16,int8:group=32,fuse"
    assert str(Pipeline.parse("int8:act=auto,fuse")) == "int8,fuse"


def test_slug_names_a_directory():
    assert Pipeline.parse("int8:group=32,fuse").slug == "int8-group-32-fuse"


@pytest.mark.parametrize("text", ["int8,fuse", "fuse,int8", "fuse", "fp16,int8", "bf16,fuse"])
def test_orders_that_work(text):
    assert str(Pipeline.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("itn8", "unknown pass 'itn8'; did you mean 'int8'?"),
        ("int8:grop=32", "unknown option of 'int8' 'grop'; did you mean 'group'?"),
        ("int8:group=33", "pass 'int8': group=33: it should be 'auto', 'channel', '32', '64' or '128'"),
        ("int8:fallback=-1", "pass 'int8': fallback=-1: it should be greater than or equal to 0"),
        ("int8:group", "pass 'int8': option 'group' has no value; write it like group=value"),
        ("int8:group=32:group=64", "pass 'int8': option 'group' is given twice"),
        ("fp16:x=1", "pass 'fp16' has no options"),
        ("int8,,fuse", "pipeline 'int8,,fuse' has an empty pass; write it like int8:group=32,fuse"),
    ],
)
def test_a_mistake_is_named_with_its_remedy(text, message):
    with pytest.raises(UsageError) as error:
        Pipeline.parse(text)
    assert str(error.value) == message
    assert error.value.exit_code == 2


def test_an_impossible_order_is_refused_with_the_one_that_works():
    with pytest.raises(UsageError, match="int8 may leave Quantized, Dense; this order works: fp16,int8,fuse"):
        Pipeline.parse("int8,fp16,fuse")


def test_passes_that_never_fit_together_are_refused():
    with pytest.raises(UsageError, match="no other order works"):
        Pipeline.parse("int8,int8")
