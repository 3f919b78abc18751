"""Weights in 3 bits."""

import pytest

from compress.checkpoint.model import Model
from compress.errors import UsageError
from compress.export.targets.ort_cpu import OrtCpu
from compress.pipeline.parse import parse_pass


def test_three_bits_are_refused_for_the_cpu_runtime(llama):
    message = "int3: ort-cpu holds integers of 2, 4 and 8 bits, not 3; use int4, or --target hf"
    with pytest.raises(UsageError) as error:
        parse_pass("int3").resolve(Model.open(str(llama)), OrtCpu.capability)
    assert str(error.value) == message
