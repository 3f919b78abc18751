"""Options that can't work on a model are refused before the work."""

import pytest

from compress.errors import UsageError
from compress.export.targets.ort_cpu import OrtCpu
from tests.support.passes import make_variant
from tests.support.tensors import token_ids

TOKENS = token_ids(4, 24)


def make(source, pipeline, out, seed=0):
    return make_variant(source, pipeline, OrtCpu.capability, out, TOKENS, seed)


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("int8:head=float:embed=int8", "head and embedding are tied, so set both alike: head=float:embed=float"),
        ("int8:act=dynamic:group=32", "act=dynamic needs one scale a channel"),
        ("int8:group=128", r"group=128 doesn't divide the 64 inputs of .*; use group=64"),
    ],
)
def test_what_cannot_work_on_a_model_is_refused_before_the_work(llama, tmp_path, pipeline, message):
    with pytest.raises(UsageError, match=message):
        make(llama, pipeline, tmp_path / "v")
    assert not list((tmp_path / "v").iterdir())
