"""Table of metrics: key, heading, unit as stored and as shown, and which way is better.

`docs/metrics.md` says how each is measured, and how its uncertainty is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from compress.benchmarks.results.scorecard import Direction, Scorecard
from compress.benchmarks.results.significant import decimals_for
from compress.benchmarks.statistics.measure import Measure
from compress.modeling.kinds import KINDS, TaskKind

Unit = Literal["bytes", "seconds", "share", "number"]
"""How a figure is stored; a share is one between 0 and 1, a number anything else: a rate, a perplexity, nats."""


@dataclass(frozen=True)
class Metric:
    """A metric: how its figures are named, shown and compared.

    ``scale`` turns the stored figure into the shown one. ``compared``: ratios to the baselines make sense. ``labeled``:
    it takes a file of labeled text. ``device``: only what runs on a GPU has it. ``lowest`` and ``highest`` are what a
    stored figure can be at all.
    """

    key: str
    heading: str
    better: Direction
    decimals: int
    unit: Unit = "number"
    scale: float = 1.0
    compared: bool = True
    kinds: tuple[TaskKind, ...] = tuple(KINDS.values())
    labeled: bool = False
    device: bool = False
    lowest: float = 0.0
    highest: float = math.inf

    @property
    def unit_shown(self) -> str:
        """The unit of the shown figure, as the heading names it; empty where it has none."""
        return self.heading.partition(", ")[2]

    def shown(self, measure: Measure) -> str:
        """The figure with its spread, where it has one."""
        scaled = measure.value * self.scale
        decimals = decimals_for(scaled, self.decimals) if self.compared else self.decimals
        value = f"{scaled:,.{decimals}f}"
        return value if measure.spread is None else f"{value} ± {measure.spread * self.scale:,.{decimals}f}"


_EVERY = tuple(KINDS.values())
_WRITES = tuple(kind for kind in _EVERY if kind.generates_text)
_DECODER_ONLY = tuple(kind for kind in _EVERY if kind.is_decoder_only)
_READS = tuple(kind for kind in _EVERY if not kind.generates_text)
_SENTENCES = tuple(kind for kind in _READS if not kind.is_vision)
_IMAGES = tuple(kind for kind in _READS if kind.is_vision)
_EMBEDS = tuple(kind for kind in _EVERY if not kind.has_head)
_LOGITS = tuple(kind for kind in _EVERY if kind.has_head)
_TEXT_CLASSES = tuple(kind for kind in _SENTENCES if kind.has_classes)


def _cosine(key: str, heading: str) -> Metric:
    return Metric(key, heading, "higher", 5, "share", compared=False, kinds=_EMBEDS, lowest=-1.0, highest=1.0)


METRICS = (
    Metric("decode_tps", "decode, tokens/s", "higher", 1, kinds=_WRITES),
    Metric("itl_p50", "inter-token p50, ms", "lower", 2, "seconds", 1e3, kinds=_WRITES),
    Metric("itl_p95", "inter-token p95, ms", "lower", 2, "seconds", 1e3, kinds=_WRITES),
    Metric("itl_p99", "inter-token p99, ms", "lower", 2, "seconds", 1e3, kinds=_WRITES),
    Metric("ttft", "time to first token, ms", "lower", 1, "seconds", 1e3, kinds=_WRITES),
    Metric("prefill_tps", "prefill, tokens/s", "higher", 0, kinds=_WRITES),
    Metric("beam_tps", "beam search, tokens/s", "higher", 1, kinds=_WRITES),
    Metric("sample_tps", "sampling, tokens/s", "higher", 1, kinds=_WRITES),
    Metric("latency_p50", "latency p50, ms", "lower", 2, "seconds", 1e3, kinds=_READS),
    Metric("latency_p95", "latency p95, ms", "lower", 2, "seconds", 1e3, kinds=_READS),
    Metric("sentences_ps", "batched, sentences/s", "higher", 1, kinds=_SENTENCES),
    Metric("images_ps", "batched, images/s", "higher", 1, kinds=_IMAGES),
    Metric("peak_rss", "peak RSS, MB", "lower", 0, "bytes", 1e-6),
    Metric("load_rss", "peak RSS of loading, MB", "lower", 0, "bytes", 1e-6),
    Metric("prefill_rss", "peak RSS of prefill, MB", "lower", 0, "bytes", 1e-6, kinds=_WRITES),
    Metric("decode_rss", "peak RSS of decoding, MB", "lower", 0, "bytes", 1e-6, kinds=_WRITES),
    Metric("load_device", "device memory once loaded, MB", "lower", 0, "bytes", 1e-6, device=True),
    Metric("prefill_device", "device memory of prefill, MB", "lower", 0, "bytes", 1e-6, kinds=_WRITES, device=True),
    Metric("decode_device", "device memory of decoding, MB", "lower", 0, "bytes", 1e-6, kinds=_WRITES, device=True),
    Metric("disk_bytes", "on disk, MB", "lower", 1, "bytes", 1e-6),
    Metric("other_bytes", "on disk besides weights, MB", "lower", 1, "bytes", 1e-6, compared=False),
    Metric("bits_per_weight", "bits per weight", "lower", 2, compared=False),
    Metric("load_s", "load, s", "lower", 2, "seconds"),
    Metric("load_cold_s", "first load, s", "lower", 2, "seconds"),
    Metric("retention", "accuracy retention", "higher", 4, "share", compared=False, highest=1.0),
    Metric("accuracy", "accuracy, %", "higher", 2, "share", 100.0, False, _TEXT_CLASSES, labeled=True, highest=1.0),
    Metric("accuracy_ratio", "accuracy, × original", "higher", 4, "number", 1.0, False, _TEXT_CLASSES, labeled=True),
    Metric("spearman", "Spearman's ρ to labels", "higher", 4, "share", 1.0, False, _SENTENCES, True, False, -1.0, 1.0),
    Metric("perplexity", "perplexity", "lower", 2, compared=False, kinds=_WRITES),
    Metric("perplexity_ratio", "perplexity, × original", "lower", 4, compared=False, kinds=_WRITES),
    Metric("kl", "KL to original, nats", "lower", 5, compared=False, kinds=_LOGITS),
    Metric("kl_p99", "KL to original p99, nats", "lower", 4, compared=False, kinds=_WRITES),
    Metric("top1", "top-1 agreement, %", "higher", 2, "share", 100.0, compared=False, kinds=_LOGITS, highest=1.0),
    _cosine("cosine", "cosine to original"),
    _cosine("cosine_centered", "cosine to original, centered"),
    _cosine("cosine_min", "worst cosine"),
    Metric("cost", "cost, per million tokens", "lower", 4, kinds=_WRITES + _SENTENCES),
    Metric("image_cost", "cost, per million images", "lower", 4, kinds=_IMAGES),
    Metric("bandwidth_fraction", "of memory bandwidth, %", "higher", 1, "share", 100.0, False, _WRITES),
)


def metrics(kind: TaskKind) -> tuple[Metric, ...]:
    """Metrics of a kind of model, in the order shown."""
    return tuple(metric for metric in METRICS if kind in metric.kinds)


def metrics_of(card: Scorecard) -> tuple[Metric, ...]:
    """Metrics that a card may have: its kind's, and those of its tasks."""
    return (*metrics(card.kind), *(task_metric(key, better) for key, better in card.tasks.items()))


def task_metric(key: str, better: Direction = "higher") -> Metric:
    """The metric of a task's figure: named as lm-eval does, whatever its range."""
    return Metric(key, key, better, 4, compared=False, kinds=_DECODER_ONLY)


def metric(key: str) -> Metric:
    """The metric of that key."""
    return next(entry for entry in METRICS if entry.key == key)
