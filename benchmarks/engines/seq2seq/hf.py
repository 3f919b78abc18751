"""An encoder-decoder variant in transformers with its integers dequantized to float32."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedModel

from compress.benchmarks.engines.seq2seq.torch import TorchSeq2SeqEngine
from compress.checkpoint.variant import Variant
from compress.modeling.kinds import TaskKind


class HfSeq2SeqEngine(TorchSeq2SeqEngine):
    """A variant's directory."""

    @staticmethod
    def load(path: Path, kind: TaskKind) -> PreTrainedModel:
        """The variant's class with its weights in float32."""
        return Variant.open(path).torch_module()
