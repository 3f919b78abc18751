"""The machine and the library versions that a result was made with."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from compress.lazy import psutil
from compress.version import __version__

_LIBRARIES = ("torch", "transformers", "onnx", "onnx-ir", "mobius-onnx", "onnxruntime", "onnxruntime-gpu",
              "onnxruntime-genai", "compressed-tensors", "lm-eval")  # fmt: skip
_INSTRUCTIONS = (
    "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimddp", "i8mm", "bf16"
)  # fmt: skip


def machine() -> dict[str, str]:
    """Processor, the vector instructions that matter to quantized kernels, cores, memory and system."""
    facts = {"processor": platform.processor() or platform.machine(), "instructions": ""}
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = dict(line.split(":", 1) for line in cpuinfo.read_text().split("\n\n")[0].splitlines() if ":" in line)
        fields = {key.strip(): value.strip() for key, value in lines.items()}
        flags = (fields.get("flags") or fields.get("Features") or "").split()
        facts["processor"] = fields.get("model name", facts["processor"])
        facts["instructions"] = " ".join(name for name in _INSTRUCTIONS if name in flags)
    facts["cores"] = str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    facts["memory"] = f"{psutil.virtual_memory().total / 2**30:.1f} GiB"
    facts["system"] = f"{platform.system()} {platform.machine()}"
    if device := _gpu():
        facts["gpu"] = device
    return facts


def _gpu() -> str | None:
    """The first NVIDIA GPU, its memory and its driver; None where there is none, or NVML isn't installed."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle).total / 2**30
        return f"{pynvml.nvmlDeviceGetName(handle)}, {memory:.1f} GiB, driver {pynvml.nvmlSystemGetDriverVersion()}"
    except pynvml.NVMLError:
        return None


def conditions() -> dict[str, str]:
    """Conditions that vary between runs on one machine: the processor's clock, and the cores that this may use."""
    facts, clock = {}, psutil.cpu_freq()
    if clock is not None:
        bounds = f", from {clock.min:.0f} to {clock.max:.0f}" if clock.max else ""
        facts["frequency"] = f"{clock.current:.0f} MHz at the end{bounds}"
    if hasattr(os, "sched_getaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        pinned = f"processors {', '.join(map(str, allowed))} of {os.cpu_count()}"
        facts["pinning"] = "none" if len(allowed) == os.cpu_count() else pinned
    return facts


def versions() -> dict[str, str]:
    """Versions of Python, of this program and of the libraries that decide a result."""
    installed = {"python": platform.python_version(), "compress": __version__}
    for name in _LIBRARIES:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    return installed
