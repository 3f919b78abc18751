"""What a result was made with: the processor, the memory, the versions."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from compress.system import machine
from compress.version import __version__


def test_a_machine_is_read_from_what_the_system_says(monkeypatch):
    info = "model name\t: A Processor @ 2 GHz\nflags\t\t: fpu avx2 avx512f amx_bf16 sse\n\nmodel name\t: another\n"
    monkeypatch.setattr(Path, "is_file", lambda path: str(path) == "/proc/cpuinfo")
    monkeypatch.setattr(Path, "read_text", lambda path: info)
    monkeypatch.setattr(machine, "_gpu", lambda: None)
    facts = machine.machine()
    assert (facts["processor"], facts["instructions"]) == ("A Processor @ 2 GHz", "avx2 avx512f amx_bf16")
    assert facts["memory"] == f"{psutil.virtual_memory().total / 2**30:.1f} GiB"
    assert facts["system"] == f"{platform.system()} {platform.machine()}"
    assert "gpu" not in facts
    monkeypatch.setattr(machine, "_gpu", lambda: "a GPU")
    assert machine.machine()["gpu"] == "a GPU"


def test_pinning_names_the_processors(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 2}, raising=False)
    assert machine.conditions()["pinning"] == "processors 0, 2 of 4"
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    assert machine.conditions()["pinning"] == "none"


def test_versions_are_of_what_is_installed(monkeypatch):
    def installed(name):
        if name == "onnxruntime-genai":
            raise PackageNotFoundError
        return version("torch") if name == "torch" else "1"

    monkeypatch.setattr(machine, "version", installed)
    listed = machine.versions()
    assert (listed["compress"], listed["torch"], listed["onnx"]) == (__version__, version("torch"), "1")
    assert listed["python"] == platform.python_version()
    assert "onnxruntime-genai" not in listed
