"""Encoder-decoders in ONNX Runtime on the CPU. Nothing here imports torch: serving is measured as deployed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort

from compress.benchmarks.engines.ort import session
from compress.benchmarks.runtime.engine import Floats, Ids
from compress.errors import RunError
from compress.modeling.kinds import TaskKind

_READ, _WRITTEN = "encoder", "decoder"


class OrtSeq2SeqEngine:
    """A directory with an encoder and a decoder. A prompt is what the encoder reads; the decoder starts behind it.

    The cache of cross-attention is made in the first step, and the same buffers are every later one's inputs.
    """

    read_bytes: int | None = None

    def __init__(self, path: Path, kind: TaskKind, threads: int) -> None:
        self._encoder = session(path / "encoder_model.onnx", threads)
        self._decoder = session(path / "decoder_model_merged.onnx", threads)
        self._start = int(json.loads((path / "config.json").read_text())["decoder_start_token_id"])
        self._shapes = {each.name: each.shape for each in self._decoder.get_inputs() if "past_key" in each.name}
        self._held: dict[str, ort.OrtValue] = {}

    @property
    def token_bytes(self) -> int:
        """Bytes that one cached token takes, written or read."""
        written = [shape for name, shape in self._shapes.items() if _WRITTEN in name]
        return sum(int(shape[1] * shape[3]) * np.dtype(np.float32).itemsize for shape in written)

    def start(self, prompt: Ids, room: int) -> int:
        """Let the encoder read a prompt; the decoder's greedy first token."""
        self._read(prompt)
        return self.step(self._start)

    def step(self, token: int) -> int:
        """Append a token; the greedy next one."""
        if not self._held:
            raise RunError("a step before the prompt")
        return int(self._advance(np.array([[token]], dtype=np.int64))[0, -1].argmax())

    def logits(self, ids: Ids) -> Floats:
        """Logits of one window that the encoder reads and the decoder is to write; row i is for token i + 1.

        The last row, which is for no token, is the one before it again.
        """
        self._read(ids)
        said = self._advance(np.concatenate([[self._start], ids[:-1]])[None].astype(np.int64))[0]
        return np.concatenate([said[1:], said[-1:]])

    def embed(self, ids: Ids, mask: Ids) -> Floats:
        """Nothing: such a model writes."""
        raise RunError("an encoder-decoder embeds no sentences")

    def _read(self, ids: Ids) -> None:
        given = np.ascontiguousarray(ids[None])
        feed = {"input_ids": _value(given), "attention_mask": _value(np.ones_like(given))}
        [states] = self._encoder.run_with_ort_values(["last_hidden_state"], feed)
        self._held = {"encoder_hidden_states": states, "encoder_attention_mask": feed["attention_mask"]}
        for name, shape in self._shapes.items():
            self._held[name] = _value(np.zeros((1, shape[1], 0, shape[3]), np.float32))

    def _advance(self, ids: Ids) -> Floats:
        """Logits ``[1, s, vocabulary]`` of further tokens ``[1, s]``."""
        fresh = any(0 in self._held[name].shape() for name in self._shapes if _READ in name)
        kept = [name for name in self._shapes if fresh or _WRITTEN in name]
        wanted = ["logits", *(name.replace("past_key_values.", "present.", 1) for name in kept)]
        logits, *present = self._decoder.run_with_ort_values(wanted, {**self._held, "input_ids": _value(ids)})
        self._held |= dict(zip(kept, present, strict=True))
        found: Floats = logits.numpy()
        return found


def _value(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_numpy(array)
