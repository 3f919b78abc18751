"""Description of a run's method and machine in sentences, for every report."""

from __future__ import annotations

from compress.benchmarks.results.kinds import PLANS
from compress.benchmarks.results.phases import MEASURED, overhead
from compress.benchmarks.results.scorecard import Scorecard, Settings


def method_facts(card: Scorecard) -> list[str]:
    """Sentences on how a run was measured."""
    settings = card.settings
    facts = [
        f"Speed: every contender was launched {_launches(card)} times, each time in a fresh process that ran alone, "
        f"with {settings.rounds} rounds after a warm-up, {card.threads} threads and huge pages where the system has "
        f"them, in an order that was drawn (seed {settings.seed}) and rotated." + _until(settings),
        "A speed is the median over launches of the median of a launch's rounds, ± half the interquartile range "
        "over launches. Ratios: the median over launches of the ratio of neighbors, with a question mark where its "
        "95 % interval holds 1. Accuracy: the mean ± its standard error over windows.",
        "Peak RSS is that of the serving process; load is from starting that process until it can serve, the first "
        "load that with files read from the disk.",
        *(_writing_facts(card) if card.kind.generates_text else _reading_facts(card)),
    ]
    if card.tasks:
        facts.append("Tasks: lm-eval's, answered by each contender's own runtime; ± lm-eval's standard error.")
    facts += [*_optional_facts(card), *_time_facts(card)]
    if settings.price_per_hour:
        facts.append(f"Cost: an hour of the machine at {settings.price_per_hour:g}.")
    return facts


def machine_facts(card: Scorecard) -> list[str]:
    """Facts of the machine and the versions of a run."""
    return [
        *(f"{part}: {value}" for part, value in card.machine.items()),
        f"load average when measuring began: {card.load:.2f}; other programs kept {card.others:.2f} cores busy "
        "while speed was measured",
        ", ".join(f"{name} {number}" for name, number in card.versions.items()),
        card.created,
    ]


def _writing_facts(card: Scorecard) -> list[str]:
    """Method for models that generate text."""
    settings, plan = card.settings, PLANS[card.kind]
    return [
        f"Time to first token: a prompt of {settings.prompt} tokens; decoding: {settings.steps} greedy tokens "
        f"after it, with the cache; prefill: a prompt of {settings.prefill} tokens. {plan.prefill_by}",
        f"Accuracy: {card.read}{plan.accuracy_by}",
        f"Memory bandwidth: {card.bandwidth / 1e9:.1f} GB/s read by {card.threads} threads; the share is decode "
        "tokens/s × (weight bytes read a token + cache bytes).",
    ]


def _reading_facts(card: Scorecard) -> list[str]:
    """Method for models that encode sentences or images."""
    settings, plan = card.settings, PLANS[card.kind]
    single = plan.latency_of.format(prompt=settings.prompt)
    return [
        f"Latency: {single}, {settings.runs} times a round; {plan.batches_of}: batches of {settings.batch}.",
        f"Accuracy: {card.read}{plan.accuracy_by}",
    ]


def _launches(card: Scorecard) -> int:
    """Number of launches of every contender."""
    return max((len(measure.launches) for measure in card.original.measures.values()), default=0)


def _until(settings: Settings) -> str:
    if not settings.patience:
        return ""
    return (
        f" Launches were added until each ratio of speed to the original was known to ±{settings.precision:.0%}, or "
        f"{settings.patience:g} s a contender were over."
    )


def _optional_facts(card: Scorecard) -> list[str]:
    """Method of optional measurements."""
    settings, facts = card.settings, []
    if settings.cells:
        work = f"prompts, then {settings.steps} greedy tokens or what fits" if card.kind.generates_text else "sentences"
        facts.append(f"By length and batch: {work}, every row of a batch equally long; launches and rounds as above.")
    if settings.beams is not None:
        facts.append(f"Beam search: {settings.beams} beams; tokens/s are those of one text.")
    if (sampling := settings.sampling) is not None:
        options = f"top_k={sampling.top_k}, top_p={sampling.top_p:g}, temperature={sampling.temperature:g}"
        facts.append(f"Sampling: {options}, seed {settings.seed}.")
    return facts


def _time_facts(card: Scorecard) -> list[str]:
    """Seconds of the run by phase; none of reports without them."""
    if not card.seconds:
        return []

    def listed(measured: bool) -> str:
        phases = [(phase, spent) for phase, spent in card.seconds.items() if (phase in MEASURED) is measured]
        return ", ".join(f"{phase} {spent:.1f}" for phase, spent in phases)

    besides, total = overhead(card.seconds), sum(card.seconds.values())
    return [
        f"Scoring took {total:.1f} s: {total - besides:.1f} s of measured work ({listed(True)}) and {besides:.1f} s "
        f"besides ({listed(False)}), {besides / len(card.rows):.1f} s a row."
    ]
