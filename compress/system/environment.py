"""Environment variables that libraries read when they load: no telemetry, polite threads, huge pages, no searches."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from compress.system.cores import THREADS, available_cores, quota

NO_TELEMETRY = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime's and onnxruntime-genai's
}
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_EVALUATE_OFFLINE": "1",
    "PIP_NO_INDEX": "1",
}
_POLITE = {
    "OMP_WAIT_POLICY": "passive",  # threads at a barrier sleep: spinning takes the cores of whoever else has work
    "TOKENIZERS_PARALLELISM": "false",
}
_HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""Weights in huge pages, where Linux gives them to who asks (``madvise``): every step of decoding reads all weights."""
_QUICK = {"PYDANTIC_DISABLE_PLUGINS": "__all__"}
"""Spares pydantic the look for plugins in all that is installed, a tenth of a second before a typo is told."""
_SAFE = {
    "MPLBACKEND": "agg",  # else it may name code, by module://
    "ORT_LOAD_CONFIG_FROM_MODEL": "0",  # else a graph's metadata set up its session, profiles written included
}
"""Variables by which code is loaded, or a model has a say: the user's value is not taken."""


def prepare_process() -> None:
    """Set, for this process and those that it starts, what libraries read when they load; to be called before they do.

    What the user's environment says about threads and plugins stays.
    """
    for name, value in (_POLITE | _QUICK).items():
        os.environ.setdefault(name, value)
    if quota() is not None:  # libraries count cores, and know nothing of quotas
        os.environ.setdefault(THREADS, str(available_cores()))
    os.environ.update(NO_TELEMETRY | _SAFE)
    _forget_relative_entries()


def child_environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a process that we start: this one's, prepared likewise, and ``variables``."""
    return {**_POLITE, **_HUGE_PAGES, **os.environ, **NO_TELEMETRY, **_SAFE, **(variables or {})}


def _forget_relative_entries() -> None:
    """Drop entries of PYTHONPATH that depend on the current folder: ``.``, and what a trailing colon leaves.

    That folder may be a stranger's checkpoint with a ``numpy.py`` in it. What holds this Python's packages stays.
    """
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    absolute = [entry for entry in entries if os.path.isabs(entry)]
    if entries in ([""], absolute):
        return
    os.environ["PYTHONPATH"] = os.pathsep.join(absolute)
    relative = {os.path.abspath(entry) for entry in entries} - {os.path.abspath(entry) for entry in absolute}
    sys.path[:] = [
        entry for entry in sys.path if os.path.abspath(entry) not in relative or entry.startswith(sys.prefix + os.sep)
    ]
