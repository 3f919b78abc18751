"""Scoring plan of each kind of model: one row a kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from compress.modeling.kinds import CLASSIFIER, DECODER, ENCODER, IMAGE_CLASSIFIER, SEQ2SEQ, TaskKind

SIZE, ACCURACY = "disk_bytes", "retention"
"""Metrics that every kind of model has."""


@dataclass(frozen=True)
class ScoringPlan:
    """Metrics measured and compared for a kind of model, by their keys.

    ``evaluation_windows``: how many windows of how many tokens, or of one image, are read, and up to ``most_windows``
    of a text until the ratios are known. ``launches`` of every contender at least, with ``rounds`` of speed each, and
    more for up to ``patience`` seconds a contender until the ratios are known. ``speed`` is the metric that stands for
    speed, ``verb`` what the model does so fast. ``compared`` are those shown for each pass, ``shown`` those that a
    terminal shows unless all are asked for. ``paces`` are rates by length and batch, with what each is a rate of.
    ``latency_of`` and ``batches_of`` say what one turn reads, for kinds that write nothing. ``accuracy_by``: what of
    the outputs is compared; ``prefill_by``: how a prompt is read.
    """

    evaluation_windows: tuple[int, int]
    rounds: int
    speed: str
    verb: str
    compared: tuple[str, ...]
    paces: Mapping[str, str]
    shown: tuple[str, ...]
    launches: int = 3
    patience: float = 120.0
    most_windows: int = 256
    accuracy_by: str = ""
    prefill_by: str = ""
    latency_of: str = ""
    batches_of: str = ""

    @property
    def quick_windows(self) -> int:
        """Windows of a quick score."""
        return max(2, self.evaluation_windows[0] // 2)


_WRITING = ScoringPlan(
    evaluation_windows=(8, 512),
    rounds=2,
    speed="decode_tps",
    verb="decodes",
    compared=("decode_tps", "prefill_tps", "peak_rss", SIZE, ACCURACY),
    shown=("decode_tps", "ttft", "prefill_tps", "peak_rss", SIZE, ACCURACY, "perplexity_ratio", "kl"),
    paces={"prefill_tps": "prefill", "decode_tps": "decoding"},
    accuracy_by=", on the exported artifact.",
    prefill_by="torch computes the last logits only, as transformers' generate() does.",
)
_READING = ScoringPlan(
    evaluation_windows=(64, 128),
    rounds=3,
    speed="latency_p50",
    verb="embeds",
    compared=("latency_p50", "sentences_ps", "peak_rss", SIZE, ACCURACY),
    shown=("latency_p50", "latency_p95", "sentences_ps", "peak_rss", SIZE, ACCURACY, "cosine", "cosine_centered"),
    paces={"sentences_ps": "sentences"},
    accuracy_by="; cosine of the sentence embeddings to the original's.",
    latency_of="one sentence of {prompt} tokens",
    batches_of="sentences/s",
)
_CLASSES = ("peak_rss", SIZE, ACCURACY, "kl", "top1")
_BY_CLASS = "; the classes' probabilities against the original's."

PLANS: Mapping[TaskKind, ScoringPlan] = {
    DECODER: _WRITING,
    ENCODER: _READING,
    CLASSIFIER: replace(
        _READING,
        verb="classifies",
        shown=("latency_p50", "latency_p95", "sentences_ps", *_CLASSES),
        accuracy_by=_BY_CLASS,
    ),
    SEQ2SEQ: replace(
        _WRITING,
        evaluation_windows=(8, 256),
        accuracy_by=", on the exported artifact, which the encoder reads and the decoder is to write, token by token.",
        prefill_by="The encoder reads the prompt, and the decoder its start.",
    ),
    IMAGE_CLASSIFIER: replace(
        _READING,
        evaluation_windows=(64, 1),
        verb="classifies",
        shown=("latency_p50", "latency_p95", "images_ps", *_CLASSES),
        compared=("latency_p50", "images_ps", "peak_rss", SIZE, ACCURACY),
        paces={"images_ps": "images"},
        accuracy_by=_BY_CLASS,
        latency_of="one image",
        batches_of="images/s",
    ),
}
"""Scoring plan of every kind of model."""
