"""The report: ``report.md`` for people, ``report.json`` for programs, and the table that a terminal shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from compress.benchmarks.findings import findings
from compress.benchmarks.metric_table import Metric, metrics
from compress.benchmarks.scorecard import Row, Scorecard, ratio

_ABREAST = 4
"""contenders beside the baselines in one table of the report"""


def table(card: Scorecard, names: Sequence[str] | None = None) -> tuple[list[str], list[list[str]]]:
    """Headers and rows: a line a metric, a column a contender (``names`` picks some).

    A cell holds the figure ± its spread, and on a second line how many times the original's and the float export's
    it is.
    """
    chosen = [row for row in card.rows if names is None or row.name in names]
    lines = [
        [metric.heading, *(_cell(card, row, metric) for row in chosen)]
        for metric in metrics(card.kind)
        if any(metric.key in row.measures for row in chosen)
    ]
    return [_legend(card), *(row.name for row in chosen)], lines


def _legend(card: Scorecard) -> str:
    base = card.float_export
    return f"× {card.original.name}" + (f" · × {base.name}" if base else "")


def _cell(card: Scorecard, row: Row, metric: Metric) -> str:
    measure = row.measures.get(metric.key)
    if measure is None:
        return "–"
    shown = metric.shown(measure)
    bases = [card.original, card.float_export]
    ratios = [ratio(row, base, metric.key) for base in bases if base is not None and base.name != row.name]
    if not metric.compared or row is card.original or not ratios:
        return shown
    return shown + "\n" + " · ".join("–" if each is None else f"{each.value:.2f}×" for each in ratios)


def markdown(card: Scorecard) -> str:
    """The whole report."""
    lines = [f"# {card.model}", ""]
    if card.command:
        lines += ["```", card.command, "```", ""]
    for group in _groups(card):
        lines += [*_markdown_table(*table(card, group)), ""]
    lines += ["## What didn't help", ""]
    lines += [f"- {line}" for line in findings(card)] or ["Nothing to complain of: no variant is worse in anything."]
    lines += ["", "## Recipes", "", *_markdown_table(["variant", "recipe", "directory"], _recipes(card), "---"), ""]
    if card.notes:
        lines += ["## Notes", "", *(f"- {note}" for note in card.notes), ""]
    lines += ["## How it was measured", "", *_method(card), "", "## Machine", "", *_machine(card), ""]
    return "\n".join(lines)


def write(card: Scorecard, folder: Path) -> tuple[Path, Path]:
    """Write ``report.md`` and ``report.json`` into a directory."""
    text, data = folder / "report.md", folder / "report.json"
    text.write_text(markdown(card))
    card.save(data)
    return text, data


def _groups(card: Scorecard) -> Iterator[list[str]]:
    """The baselines with a few variants at a time, so that a table stays as wide as a page."""
    base = [row.name for row in card.rows if row.role in ("original", "float")]
    rest = [row.name for row in card.rows if row.name not in base]
    for start in range(0, max(len(rest), 1), _ABREAST):
        yield base + rest[start : start + _ABREAST]


def _recipes(card: Scorecard) -> list[list[str]]:
    return [[row.name, f"`{row.recipe}`" if row.recipe else "", f"`{row.path}`"] for row in card.rows]


def _markdown_table(headers: list[str], rows: list[list[str]], align: str = "---:") -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", "<br>") for cell in cells) + " |"

    return [line(headers), line(["---", *(align for _ in headers[1:])]), *(line(row) for row in rows)]


def _method(card: Scorecard) -> list[str]:
    settings, (count, length) = card.settings, card.windows
    shared = [
        "- Every contender ran in a process of its own; turns were interleaved round by round in an order drawn anew "
        f"(seed {settings.seed}), {settings.rounds} rounds after a warm-up, {card.threads} threads each.",
        "- Speed: the median of the rounds ± half their interquartile range. Ratios: the median of the ratios within a "
        "round. Accuracy: the mean ± its standard error over windows.",
        "- Peak RSS is that of the serving process; load is from starting that process until it can serve.",
    ]
    if card.kind == "encoder":
        own = [
            f"- Latency: one sentence of {settings.prompt} tokens, {settings.runs} times a round; "
            f"sentences/s: batches of {settings.batch}.",
            f"- Accuracy: {count} windows of {length} tokens; cosine of the mean-pooled embeddings to the original's.",
        ]
    else:
        own = [
            f"- Time to first token: a prompt of {settings.prompt} tokens; decoding: {settings.steps} greedy tokens "
            f"after it, with the cache; prefill: a prompt of {settings.prefill} tokens. torch computes the last "
            "logits only, as `generate` does.",
            f"- Accuracy: {count} windows of {length} tokens, on the exported artifact.",
            f"- Memory bandwidth: {card.bandwidth / 1e9:.1f} GB/s read by {card.threads} threads; the share is decode "
            "tokens/s × (weight bytes read a token + cache bytes).",
        ]
    return shared + own


def _machine(card: Scorecard) -> list[str]:
    return [
        *(f"- {what}: {value}" for what, value in card.machine.items()),
        f"- load average when measuring began: {card.load:.2f}; other programs kept {card.others:.2f} cores busy "
        "while speed was measured",
        "- " + ", ".join(f"{name} {number}" for name, number in card.versions.items()),
        f"- {card.created}",
    ]
