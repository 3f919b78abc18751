"""Engine ``hf``: a variant in transformers, dequantized to float32; its accuracy, not its possible speed."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedModel

from compress.benchmarks.engines.torch import TorchEngine
from compress.checkpoint.variant import Variant
from compress.modeling.kinds import TaskKind


class HfEngine(TorchEngine):
    """Run a variant's directory, of any kind but encoder-decoders."""

    @staticmethod
    def load(path: Path, kind: TaskKind) -> PreTrainedModel:
        """Load the variant's class with its weights in float32; an encoder without a head."""
        module = Variant.open(path).torch_module()
        if kind.has_head:
            return module
        assert isinstance(module.base_model, PreTrainedModel)
        return module.base_model
