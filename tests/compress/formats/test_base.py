"""The registry of formats, and what a format does unless it says otherwise."""

import pytest

from compress.checkpoint.model import Model
from compress.errors import UsageError
from compress.formats.awq import AwqFormat
from compress.formats.base import find_format, formats
from compress.formats.compressed_tensors import CompressedTensorsFormat
from compress.formats.gptq import GptqFormat
from compress.weights.stored import DEFAULT_FORMAT


def test_every_format_is_registered_by_its_name():
    assert formats() == {"awq": AwqFormat, "compressed-tensors": CompressedTensorsFormat, "gptq": GptqFormat}
    assert isinstance(find_format("awq"), AwqFormat)
    assert find_format(DEFAULT_FORMAT).name == DEFAULT_FORMAT
    with pytest.raises(UsageError, match="unknown format 'gpqt'; did you mean 'gptq'?"):
        find_format("gpqt")


def test_the_default_holds_everything_and_needs_nothing(llama, rounded):
    plain, model = CompressedTensorsFormat(), Model.open(llama)
    assert (plain.restricted, plain.required_packages) == (False, ())
    assert plain.unsupported_reason(model.architecture, {}) is None
    weight = rounded(model.tensor(model.matrices[0]), 32)
    assert plain.as_stored(weight) is weight
    assert plain.extra_files({"quant_method": "compressed-tensors"}) == {}
