"""Score variants together with their baselines, and write and print the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compress.benchmarks.measure.stopwatch import Stopwatch
from compress.benchmarks.report import base as report
from compress.benchmarks.report.markdown import variant_section
from compress.benchmarks.results.contender import Applied, Contender
from compress.benchmarks.results.difficulty import applied
from compress.benchmarks.results.findings import findings
from compress.benchmarks.results.fusion_gain import gain_table
from compress.benchmarks.results.layer_errors import layer_errors
from compress.benchmarks.results.scorecard import Scorecard, Settings
from compress.benchmarks.results.table import comparison_table, length_tables
from compress.benchmarks.score import score
from compress.checkpoint.artifact import Artifact
from compress.checkpoint.manifest import Manifest
from compress.checkpoint.model import Model
from compress.checkpoint.model_card import write_scores
from compress.cli.console import Console
from compress.cli.shared.texts import TextInputs
from compress.export.targets.base import Target
from compress.pipeline.parse import Pipeline


@dataclass(frozen=True)
class VariantToScore:
    """A variant to score: its name in the table, its directory, and what was applied."""

    name: str
    path: Path
    recipe: str

    @property
    def passes(self) -> tuple[Applied, ...]:
        """The passes of the recipe."""
        return applied(Pipeline.parse(self.recipe))


def score_and_report(
    model: Model,
    entries: Sequence[VariantToScore],
    runtime: Target,
    texts: TextInputs,
    scratch: Path,
    out: Path,
    settings: Settings,
    command: str,
    console: Console,
) -> Scorecard:
    """Measure the torch baseline and the variants; write and print the report.

    A target with graphs has a second baseline, the float export, which is made in ``scratch``.
    """
    clock = Stopwatch()
    text = texts.evaluation
    clock.lap("texts")
    contenders = [Contender.of_checkpoint(model, model.parameters)]
    if runtime.capability.graphs:
        plain = scratch / runtime.folder
        plain.mkdir()
        with console.status("exporting the float baseline"):
            baseline = runtime.export(model, (), plain, console)
        recipe = f"{runtime.default_dtype}, standard operators"
        contenders.append(Contender.of_artifact(baseline, "onnx float", recipe, "float"))
        clock.lap("float export")
    for each in entries:
        artifact = Artifact.open(each.path / runtime.folder)
        errors = layer_errors(Manifest.read(each.path))
        contenders.append(Contender.of_artifact(artifact, each.name, each.recipe, passes=each.passes, errors=errors))
    labelled = [] if texts.labelled is None else [f"labels of {texts.labelled}"]
    tasks = [] if texts.tasks is None else [f"tasks {texts.tasks}"]
    card = score(
        contenders,
        text.inputs.numpy(),
        settings,
        console,
        model=model.source,
        command=command,
        labelled=texts.labelled,
        tasks=texts.tasks,
        notes=[f"evaluated on {text}", *labelled, *tasks, *console.notices],
        clock=clock,
    )
    report.write([card], out)
    for each in entries:
        write_scores(each.path, variant_section(card, each.name))
    for shown in (comparison_table(card), gain_table(card), *length_tables(card)):
        if shown[1]:
            console.show(*shown)
    for line in findings(card):
        console.out.print(f"! {line}", markup=False, soft_wrap=True)
    console.say(f"report: {out / 'report.md'}")
    return card
