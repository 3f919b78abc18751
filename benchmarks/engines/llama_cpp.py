"""Engine ``llama.cpp``: its C interface, with its default options."""

from __future__ import annotations

import ctypes
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import llama_cpp as lib
import numpy as np

from compress.benchmarks.runtime.engine import Floats, Ids
from compress.errors import RunError
from compress.modeling.kinds import TaskKind

if TYPE_CHECKING:
    from compress.benchmarks.runtime.engine import DecoderEngine, Opener

_ROUND = 256
"""contexts are made for a multiple of so many tokens: the same one serves rounds of about the same length"""


def silence_llama_cpp() -> None:
    """Suppress llama.cpp's log, which lists every tensor; failures are return values."""
    logging.getLogger("llama-cpp-python").setLevel(logging.CRITICAL)


class LlamaCppEngine:
    """Run a directory with a GGUF file."""

    def __init__(self, path: Path, kind: TaskKind, threads: int) -> None:
        silence_llama_cpp()
        (file,) = path.glob("*.gguf")
        self._model = lib.llama_model_load_from_file(str(file).encode(), lib.llama_model_default_params())
        if not self._model:
            raise RunError(f"llama.cpp can't load {file}")
        self._vocabulary = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self._model))
        self._threads = threads
        self._context: ctypes.c_void_p | None = None
        self._capacity = 0

    def read_bytes(self) -> int | None:
        """None: the artifact records it."""
        return None

    def token_bytes(self) -> int:
        """Bytes that one cached token takes: keys and values in float16, its default."""
        model = self._model
        size = lib.llama_model_n_embd(model) // lib.llama_model_n_head(model)
        return int(2 * lib.llama_model_n_layer(model) * lib.llama_model_n_head_kv(model) * size * 2)

    def start(self, prompt: Ids, max_new_tokens: int) -> int:
        """Read a prompt into an empty cache."""
        self._empty(len(prompt) + max_new_tokens)
        return int(self._decode(prompt)[-1].argmax())

    def step(self, token: int) -> int:
        """Append a token; the greedy next one."""
        if self._context is None:
            raise RunError("a step before the prompt")
        return int(self._decode(np.array([token]))[-1].argmax())

    def logits(self, ids: Ids) -> Floats:
        """Logits ``[s, vocabulary]`` of one window ``[s]``."""
        self._empty(len(ids))
        return self._decode(ids, every=True).copy()

    def _empty(self, tokens: int) -> None:
        """Clear the cache, in a new context where the present one is too small for ``tokens``."""
        if tokens > self._capacity:
            if self._context is not None:
                lib.llama_free(self._context)
            self._capacity = -(-tokens // _ROUND) * _ROUND
            options = lib.llama_context_default_params()
            options.n_ctx = options.n_batch = self._capacity
            options.n_threads = options.n_threads_batch = self._threads
            self._context = lib.llama_init_from_model(self._model, options)
            if not self._context:
                raise RunError(f"llama.cpp can't make a context of {self._capacity} tokens")
        lib.llama_memory_clear(lib.llama_get_memory(self._context), False)

    def _decode(self, ids: Ids, every: bool = False) -> Floats:
        """Logits ``[1, v]`` of the last of some tokens, or of ``every`` one, in llama.cpp's own memory."""
        count = len(ids)
        tokens = (lib.llama_token * count)(*ids.tolist())
        batch = lib.llama_batch_get_one(tokens, count)
        if every:
            marks = (ctypes.c_int8 * count)(*[1] * count)
            batch.logits = ctypes.cast(marks, ctypes.POINTER(ctypes.c_int8))
        if failure := lib.llama_decode(self._context, batch):
            raise RunError(f"llama.cpp can't decode {count} tokens (llama_decode returned {failure})")
        rows = count if every else 1
        return np.ctypeslib.as_array(lib.llama_get_logits(self._context), (rows, self._vocabulary))


if TYPE_CHECKING:
    _decoder: Opener[DecoderEngine] = LlamaCppEngine
