"""``report.md``, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from compress.benchmarks.report.base import ReportFormat
from compress.benchmarks.results.effects import effect_table
from compress.benchmarks.results.findings import findings
from compress.benchmarks.results.fusion_gain import gain_table
from compress.benchmarks.results.overview import overview
from compress.benchmarks.results.phases import MEASURED, overhead
from compress.benchmarks.results.scorecard import Scorecard, Settings
from compress.benchmarks.results.table import comparison_table, groups, legend, length_tables

EFFECTS = "How many times what it is without that pass alone a figure is. Stars as docs/metrics.md counts them."
GAINS = "How many times as fast it is with that pass as without it alone, of inputs of that length × so many at once."


class Markdown(ReportFormat):
    """One run in full; several in one table, with what didn't help in each."""

    name: ClassVar[str] = "markdown"

    def files(self, cards: Sequence[Scorecard]) -> dict[str, str]:
        """The page."""
        return {"report.md": markdown(cards[0]) if len(cards) == 1 else _merged(cards)}


def variant_section(card: Scorecard, name: str) -> str:
    """What a variant's own page says of a run: its figures beside the baselines', and what didn't help."""
    shown = [row.name for row in card.rows if row.role in ("original", "float") or row.name == name]
    lines = _markdown_table(*comparison_table(card, shown))
    said = [f"- {line}" for line in findings(card) if line.startswith(f"{name} ")]
    facts = [*(f"- {note}" for note in card.notes[:1]), *method_facts(card), *machine_facts(card)]
    return "\n".join([*lines, "", *said, *facts])


def _merged(cards: Sequence[Scorecard]) -> str:
    headers, rows = overview(cards)
    said = [f"- {card.model}: {line}" for card in cards for line in findings(card)]
    runs = [f"- {card.model}, {card.created}, {card.read}: `{card.command}`" for card in cards]
    lines = [
        "# Report",
        "",
        *_markdown_table(headers, rows),
        "",
        "A figure in brackets is how many times the original's.",
        "",
    ]
    for card in cards:
        lines += _by_length(card, f"{card.model}, {card.created}: ")
    lines += ["## What didn't help", "", *(said or ["Nothing to complain of."]), "", "## Runs", "", *runs, ""]
    return "\n".join(lines)


def markdown(card: Scorecard) -> str:
    """The report of one run."""
    lines = [f"# {card.model}", ""]
    if card.command:
        lines += ["```", card.command, "```", ""]
    for group in groups(card):
        lines += [*_markdown_table(*comparison_table(card, group)), ""]
    headers, effects = effect_table(card)
    if effects:
        lines += ["## What helped", "", *_markdown_table(headers, effects, "---"), "", EFFECTS, ""]
    lines += _by_length(card)
    lines += ["## What didn't help", ""]
    lines += [f"- {line}" for line in findings(card)] or ["Nothing to complain of: no variant is worse in anything."]
    lines += ["", "## Recipes", "", *_markdown_table(["variant", "recipe", "directory"], _recipes(card), "---"), ""]
    if card.notes:
        lines += ["## Notes", "", *(f"- {note}" for note in card.notes), ""]
    lines += ["## How it was measured", "", *method_facts(card), "", "## Machine", "", *machine_facts(card), ""]
    return "\n".join(lines)


def _by_length(card: Scorecard, of: str = "") -> list[str]:
    """What was measured by length and batch: sections, whose titles begin with ``of``; none where nothing was."""
    lines = []
    headers, gained = gain_table(card)
    if gained:
        lines += [f"## {of}Operators and length", "", *_markdown_table(headers, gained, "---"), "", GAINS, ""]
    if card.settings.cells:
        lines += [f"## {of}By length and batch", "", f"Ratios: {legend(card)}.", ""]
    for names in groups(card):
        for heads, rows in length_tables(card, names):
            lines += [*_markdown_table(heads, rows), ""]
    return lines


def _recipes(card: Scorecard) -> list[list[str]]:
    return [[row.name, f"`{row.recipe}`" if row.recipe else "", f"`{row.path}`"] for row in card.rows]


def _markdown_table(headers: list[str], rows: list[list[str]], align: str = "---:") -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", "<br>") for cell in cells) + " |"

    return [line(headers), line(["---", *(align for _ in headers[1:])]), *(line(row) for row in rows)]


_LAST_ONLY = "torch computes the last logits only, as `generate` does."


def method_facts(card: Scorecard) -> list[str]:
    """How the figures of a run were taken, as list items."""
    settings = card.settings
    shared = [
        "- Every contender ran in a process of its own; turns were interleaved round by round in an order drawn anew "
        f"(seed {settings.seed}), {settings.rounds} rounds after a warm-up, {card.threads} threads each."
        + _extra(settings),
        "- Speed: the median of the rounds ± half their interquartile range. Ratios: the median of the ratios within a "
        "round. Accuracy: the mean ± its standard error over windows.",
        "- Peak RSS is that of the serving process; load is from starting that process until it can serve.",
    ]
    if not card.kind.generates_text:
        compared = "cosine of the mean-pooled embeddings to the original's"
        if card.kind.has_classes:
            compared = "the classes' probabilities against the original's"
        one, many = f"one sentence of {settings.prompt} tokens", "sentences/s"
        if card.kind.is_vision:
            one, many = "one image", "images/s"
        own = [
            f"- Latency: {one}, {settings.runs} times a round; {many}: batches of {settings.batch}.",
            f"- Accuracy: {card.read}; {compared}.",
        ]
    else:
        halves = card.kind.is_seq2seq
        own = [
            f"- Time to first token: a prompt of {settings.prompt} tokens; decoding: {settings.steps} greedy tokens "
            f"after it, with the cache; prefill: a prompt of {settings.prefill} tokens. "
            + ("The encoder reads the prompt, and the decoder its start." if halves else _LAST_ONLY),
            f"- Accuracy: {card.read}, on the exported artifact"
            + (", which the encoder reads and the decoder is to write, token by token." if halves else "."),
            f"- Memory bandwidth: {card.bandwidth / 1e9:.1f} GB/s read by {card.threads} threads; the share is decode "
            "tokens/s × (weight bytes read a token + cache bytes).",
        ]
    if card.tasks:
        own.append("- Tasks: lm-eval's, answered by each contender's own runtime; ± lm-eval's standard error.")
    own += [*_asked(card), *_spent(card)]
    priced = [f"- Cost: an hour of the machine at {settings.price_per_hour:g}."] if settings.price_per_hour else []
    return shared + own + priced


def _extra(settings: Settings) -> str:
    if not settings.extra:
        return ""
    return (
        f" Up to {settings.extra} more rounds of decoding, or single sentences, followed until each ratio to the "
        f"original was known to ±{settings.precision:.0%}."
    )


def _asked(card: Scorecard) -> list[str]:
    """How what was asked for besides was measured."""
    settings, lines = card.settings, []
    if settings.cells:
        what = f"prompts, then {settings.steps} greedy tokens or what fits" if card.kind.has_head else "sentences"
        lines.append(f"- By length and batch: {what}, every row of a batch equally long; rounds and order as above.")
    if settings.beams is not None:
        lines.append(f"- Beam search: {settings.beams} beams; tokens/s are those of one text.")
    if (drawn := settings.sampling) is not None:
        options = f"top_k={drawn.top_k}, top_p={drawn.top_p:g}, temperature={drawn.temperature:g}"
        lines.append(f"- Sampling: {options}, seed {settings.seed}.")
    return lines


def _spent(card: Scorecard) -> list[str]:
    """Where the time of the run went, as list items; none of reports that don't know."""
    if not card.seconds:
        return []

    def listed(measured: bool) -> str:
        chosen = [(phase, each) for phase, each in card.seconds.items() if (phase in MEASURED) is measured]
        return ", ".join(f"{phase} {each:.1f}" for phase, each in chosen)

    besides, whole = overhead(card.seconds), sum(card.seconds.values())
    return [
        f"- Scoring took {whole:.1f} s: {whole - besides:.1f} s of measured work ({listed(True)}) and {besides:.1f} s "
        f"besides ({listed(False)}), {besides / len(card.rows):.1f} s a row."
    ]


def machine_facts(card: Scorecard) -> list[str]:
    """What a run was measured on, as list items."""
    return [
        *(f"- {what}: {value}" for what, value in card.machine.items()),
        f"- load average when measuring began: {card.load:.2f}; other programs kept {card.others:.2f} cores busy "
        "while speed was measured",
        "- " + ", ".join(f"{name} {number}" for name, number in card.versions.items()),
        f"- {card.created}",
    ]
