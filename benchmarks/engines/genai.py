"""Engine ``genai``: onnxruntime-genai in its own generation loop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime_genai as og

from compress.benchmarks.runtime.engine import Floats, Ids
from compress.errors import RunError
from compress.modeling.kinds import TaskKind
from compress.onnx_names import LAST_TOKEN_FILE, MODEL_FILE

if TYPE_CHECKING:
    from compress.benchmarks.runtime.engine import DecoderEngine, Opener


class GenaiEngine:
    """Run a directory with ``genai_config.json``, whose generator feeds its own greedy tokens back."""

    def __init__(self, path: Path, kind: TaskKind, threads: int) -> None:
        self._path, self._threads = path, threads
        self._shape = json.loads((path / "genai_config.json").read_text())["model"]["decoder"]
        self._load(self._shape["filename"])

    def _load(self, name: str) -> None:
        """Load one graph of the directory, in place of the one that was loaded before."""
        self._generator: og.Generator | None = None
        self._model: og.Model | None = None
        options = {"session_options": {"intra_op_num_threads": self._threads}, "filename": name}
        config = og.Config(str(self._path))
        config.overlay(json.dumps({"model": {"decoder": options}}))
        self._model, self._loaded = og.Model(config), name

    def read_bytes(self) -> int | None:
        """None: the artifact records it."""
        return None

    def token_bytes(self) -> int:
        """Bytes that one cached token takes: keys and values in float32."""
        heads, size = self._shape["num_key_value_heads"], self._shape["head_size"]
        return int(2 * self._shape["num_hidden_layers"] * heads * size * 4)

    def start(self, prompt: Ids, max_new_tokens: int) -> int:
        """Read a prompt into a fresh cache."""
        if self._loaded != self._shape["filename"]:
            self._load(self._shape["filename"])
        self._generator = self._read(prompt, max_new_tokens + 1)
        return self._next(self._generator)

    def step(self, token: int) -> int:
        """Run the token that it sampled last; the greedy next one."""
        if self._generator is None:
            raise RunError("a step before the prompt")
        return self._next(self._generator)

    def logits(self, ids: Ids) -> Floats:
        """Logits ``[s, vocabulary]`` of one window ``[s]``, by the graph that gives them all."""
        if self._loaded == LAST_TOKEN_FILE:
            self._load(MODEL_FILE)
        logits: Floats = self._read(ids, 1).get_output("logits")[0].astype(np.float32)
        return logits

    def _read(self, prompt: Ids, max_new_tokens: int) -> og.Generator:
        """A generator that has read a prompt. Its least length holds the end-of-text token back: runs stay alike."""
        length = len(prompt) + max_new_tokens
        params = og.GeneratorParams(self._model)
        params.set_search_options(do_sample=False, min_length=length, max_length=length)
        generator = og.Generator(self._model, params)
        generator.append_tokens(prompt[None].astype(np.int32))
        return generator

    @staticmethod
    def _next(generator: og.Generator) -> int:
        generator.generate_next_token()
        return int(generator.get_next_tokens()[0])


if TYPE_CHECKING:
    _decoder: Opener[DecoderEngine] = GenaiEngine
