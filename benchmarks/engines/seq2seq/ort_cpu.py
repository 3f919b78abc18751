"""Engine ``ort-cpu`` of encoder-decoders: ONNX Runtime without torch, as deployed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort

from compress.benchmarks.runtime.engine import Floats, Ids
from compress.benchmarks.runtime.ort import new_session
from compress.errors import RunError
from compress.modeling.kinds import TaskKind
from compress.onnx_names import DECODER, ENCODER, PAST_PREFIX, to_present

if TYPE_CHECKING:
    from compress.benchmarks.runtime.engine import DecoderEngine, Opener

_CROSS_ATTENTION, _SELF_ATTENTION = "encoder", "decoder"
"""Part of every cache tensor's name."""


class OrtCpuSeq2SeqEngine:
    """Run a directory with an encoder and a decoder; the encoder reads the prompt.

    The cache of cross-attention is made in the first step, and the same buffers are every later one's inputs.
    """

    def __init__(self, path: Path, kind: TaskKind, threads: int) -> None:
        self._encoder = new_session(path / ENCODER, threads)
        self._decoder = new_session(path / DECODER, threads)
        self._start = int(json.loads((path / "config.json").read_text())["decoder_start_token_id"])
        self._shapes = {
            value.name: value.shape for value in self._decoder.get_inputs() if value.name.startswith(PAST_PREFIX)
        }
        self._state: dict[str, ort.OrtValue] = {}

    def read_bytes(self) -> int | None:
        """None: the artifact records it."""
        return None

    def token_bytes(self) -> int:
        """Bytes that one cached token takes, written or read."""
        written = [shape for name, shape in self._shapes.items() if _SELF_ATTENTION in name]
        return sum(int(shape[1] * shape[3]) * np.dtype(np.float32).itemsize for shape in written)

    def start(self, prompt: Ids, max_new_tokens: int) -> int:
        """Let the encoder read a prompt; the decoder's greedy first token."""
        self._read(prompt)
        return self.step(self._start)

    def step(self, token: int) -> int:
        """Append a token; the greedy next one."""
        if not self._state:
            raise RunError("a step before the prompt")
        return int(self._advance(np.array([[token]], dtype=np.int64))[0, -1].argmax())

    def logits(self, ids: Ids) -> Floats:
        """Logits of one window ``[s]``, encoded and teacher-forced in the decoder; row i is for token i + 1.

        The last row, which is for no token, is the one before it again.
        """
        self._read(ids)
        logits = self._advance(np.concatenate([[self._start], ids[:-1]])[None].astype(np.int64))[0]
        return np.concatenate([logits[1:], logits[-1:]])

    def _read(self, ids: Ids) -> None:
        tokens = np.ascontiguousarray(ids[None])
        feed = {"input_ids": _value(tokens), "attention_mask": _value(np.ones_like(tokens))}
        [states] = self._encoder.run_with_ort_values(["last_hidden_state"], feed)
        self._state = {"encoder_hidden_states": states, "encoder_attention_mask": feed["attention_mask"]}
        for name, shape in self._shapes.items():
            self._state[name] = _value(np.zeros((1, shape[1], 0, shape[3]), np.float32))

    def _advance(self, ids: Ids) -> Floats:
        """Logits ``[1, s, vocabulary]`` of further tokens ``[1, s]``."""
        fresh = any(0 in self._state[name].shape() for name in self._shapes if _CROSS_ATTENTION in name)
        updated = [name for name in self._shapes if fresh or _SELF_ATTENTION in name]
        outputs = ["logits", *(to_present(name) for name in updated)]
        values, *present = self._decoder.run_with_ort_values(outputs, {**self._state, "input_ids": _value(ids)})
        self._state |= dict(zip(updated, present, strict=True))
        logits: Floats = values.numpy()
        return logits


def _value(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_numpy(array)


if TYPE_CHECKING:
    _decoder: Opener[DecoderEngine] = OrtCpuSeq2SeqEngine
