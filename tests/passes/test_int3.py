"""Weights in 3 bits."""

from __future__ import annotations

import pytest

from compress.checkpoint.model import Model
from compress.errors import UsageError
from compress.export.targets.gguf import Gguf
from compress.export.targets.ort_cpu import OrtCpu
from compress.pipeline.parse import parse_pass


def test_three_bits_are_refused_for_llama_cpp(llama):
    message = "int3: gguf holds integers of 4 and 8 bits, not 3; use int4, or --target hf"
    with pytest.raises(UsageError) as error:
        parse_pass("int3").resolve(Model.open(str(llama)), Gguf.capability)
    assert str(error.value) == message
    parse_pass("int3").resolve(Model.open(str(llama)), OrtCpu.capability)
