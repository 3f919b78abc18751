"""An engine is found by its name and the kind of model."""

from importlib import import_module

import pytest

from compress.benchmarks.runtime.load import load_engine
from compress.benchmarks.runtime.specs import ENGINES
from compress.errors import RunError
from compress.modeling.kinds import DECODER, SEQ2SEQ


def test_unknown_engine(tmp_path):
    with pytest.raises(RunError, match="no engine runs 'tpu'; there are torch, hf, ort-cpu, ort-cuda, tensorrt, genai"):
        load_engine("tpu", tmp_path, DECODER, 1)


def test_encoder_decoders_have_engines_of_their_own(tmp_path):
    with pytest.raises(RunError, match="no engine runs 'genai'; there are torch, hf, ort-cpu$"):
        load_engine("genai", tmp_path, SEQ2SEQ, 1)


@pytest.mark.parametrize("name", ["torch", "hf", "ort-cpu", "ort-cuda"])
def test_the_table_names_classes_that_exist(name):
    spec = ENGINES[name]
    assert hasattr(import_module(f"compress.benchmarks.engines.{spec.module}"), spec.cls)
    if spec.seq2seq is not None:
        assert hasattr(import_module(f"compress.benchmarks.engines.seq2seq.{spec.module}"), spec.seq2seq)
