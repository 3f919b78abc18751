"""The table of engines: whole, and read without any library."""

import subprocess
import sys

from compress.benchmarks.runtime.specs import ENGINES, spec_of_library, spec_of_target
from compress.export.targets.base import targets


def test_every_target_has_an_engine():
    assert {spec.target for spec in ENGINES.values()} - {None} == set(targets())
    assert spec_of_target("gguf").name == "llama.cpp"
    assert spec_of_target("tpu") is None


def test_a_library_is_installed_by_an_extra():
    assert spec_of_library("onnxruntime").install == "pip install 'compress-models[cpu]'"
    assert spec_of_library("llama_cpp").install == "pip install 'compress-models[peers]'"
    assert spec_of_library("numpy") is None
    assert ENGINES["torch"].install == "pip install compress-models"


def test_the_table_is_read_without_heavy_libraries():
    heavy = {"torch", "pydantic", "numpy"}
    code = f"import sys, compress.benchmarks.runtime.specs; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
