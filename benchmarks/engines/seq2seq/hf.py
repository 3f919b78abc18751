"""Engine ``hf`` of encoder-decoders: a variant in transformers, dequantized to float32."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedModel

from compress.benchmarks.engines.seq2seq.torch import TorchSeq2SeqEngine
from compress.checkpoint.variant import Variant
from compress.modeling.kinds import TaskKind


class HfSeq2SeqEngine(TorchSeq2SeqEngine):
    """Run the directory of an encoder-decoder variant."""

    @staticmethod
    def load(path: Path, kind: TaskKind) -> PreTrainedModel:
        """Load the variant's class with its weights in float32."""
        return Variant.open(path).torch_module()
