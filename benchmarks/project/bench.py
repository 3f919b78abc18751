"""``make bench``: measure this project's goals on its demo models, in one interleaved run each."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import onnx

from compress.benchmarks.data.evaluation import Evaluation
from compress.benchmarks.project import depth, honesty, repeat
from compress.benchmarks.project.goals import (
    DEPTH,
    FILE_BITS,
    FLOAT,
    GPTQ,
    HONESTY,
    MAIN_TARGET,
    OFFGRID,
    ORIGINAL,
    PARETO,
    PEERS,
    RECOVERY,
    REPEAT,
    STRUCTURE,
    GoalResult,
    artifacts,
    figure_results,
    goal_results,
    pipelines,
    result_lines,
)
from compress.benchmarks.project.peers import build_peers, missing_library
from compress.benchmarks.report import base as report
from compress.benchmarks.results.contender import Contender
from compress.benchmarks.results.findings import findings
from compress.benchmarks.results.kinds import PLANS
from compress.benchmarks.results.scorecard import Scorecard, Settings
from compress.benchmarks.results.table import TableRow, comparison_table
from compress.benchmarks.runtime.specs import spec_of_target
from compress.benchmarks.score import RunInfo, score_contenders
from compress.benchmarks.statistics.measure import Measure
from compress.checkpoint.demo.text import calibration_text, evaluation_text
from compress.checkpoint.files.artifact import FOLDER, Artifact
from compress.checkpoint.model import Model
from compress.corpus.source import read_text
from compress.corpus.windows import WindowSize, windows
from compress.errors import CompressError, MissingComponentError, RequirementError
from compress.export.targets.base import find_target
from compress.onnx_names import MODEL_FILE
from compress.pipeline.parse import Pipeline
from compress.progress import Silent
from compress.system.cores import available_cores
from compress.system.process import python_command, run_process


@dataclass(frozen=True)
class Section:
    """Settings of one part of the benchmark, for the demo model of its name or ``demo``.

    ``windows`` of evaluation text (None: as many as a quick score reads); ``calibration``: windows and their length,
    from the first two thirds of the demo text (None: what `compress run` does by itself); with ``peers``, other tools'
    builds of the model are measured in the same run; ``settings`` of the speeds (None: a user's).
    """

    windows: int | None = None
    calibration: tuple[int, int] | None = None
    peers: bool = False
    demo: str | None = None
    settings: Settings | None = None


CALIBRATION = (128, 512)
REPEATED = "smollm2"
"""the demo model that part repeat scores"""
SECTIONS = {
    "smollm2": Section(),
    "minilm": Section(),
    OFFGRID: Section(windows=40, calibration=CALIBRATION, peers=True),
    STRUCTURE: Section(windows=20, calibration=(32, 512), demo=OFFGRID),
    PARETO: Section(
        windows=40,
        calibration=CALIBRATION,
        peers=True,
        demo=OFFGRID,
        settings=Settings(launches=1, rounds=1, patience=0),
    ),
    PEERS: Section(windows=40, calibration=CALIBRATION, peers=True, demo=OFFGRID),
    RECOVERY: Section(windows=40, calibration=(640, 512), demo=OFFGRID),
}


def bench(
    name: str, evaluation: Path | None, folder: Path, variants: Path | None = None, only: Sequence[str] = ()
) -> Scorecard:
    """Build the variants that a part's goals speak of, in ``folder``, and score them together.

    They are built in ``variants`` instead, if that is given, where those that are there already stay as they are;
    ``only`` names the pipelines to leave it at.
    """
    section = SECTIONS[name]
    model = Model.open(f"demo:{section.demo or name}")
    out = folder if variants is None else variants / name
    ours = {
        shown: (Pipeline.parse(pipeline).slug, target)
        for shown, (pipeline, target) in artifacts(name).items()
        if not only or pipeline in only
    }
    targets = list(dict.fromkeys([MAIN_TARGET, *(target for _, target in ours.values())]))
    slugs = {Pipeline.parse(pipeline).slug: pipeline for pipeline in pipelines(name) if not only or pipeline in only}
    missing = [pipeline for slug, pipeline in slugs.items() if not (out / slug).exists()]
    if missing:
        _build(model.source, missing, out, folder, section.calibration, targets)
    plain = folder / ".float"
    plain.mkdir()
    begin = time.perf_counter()
    baseline = find_target("ort-cpu").export(model, (), plain, Silent())
    seconds = time.perf_counter() - begin
    peers, absent = build_peers(model, folder, available_cores()) if section.peers else ([], [])
    engines = {shown: spec for shown, (_, target) in ours.items() if (spec := spec_of_target(target)) is not None}
    unavailable = {shown: reason for shown, spec in engines.items() if (reason := missing_library(spec))}
    absent += [f"{shown}: not measured, {reason}" for shown, reason in unavailable.items()]
    contenders = [
        Contender.of_checkpoint(model, model.parameters, ORIGINAL),
        Contender.of_artifact(baseline, FLOAT, "float32, standard operators", "float"),
        *(
            Contender.of_artifact(Artifact.open(out / slug / find_target(target).folder), shown, slugs[slug])
            for shown, (slug, target) in ours.items()
            if shown not in unavailable
        ),
        *peers,
    ]
    text = evaluation_text() if evaluation is None else read_text(evaluation)
    count, length = PLANS[model.kind].evaluation_windows
    size, closed = WindowSize(section.windows or count, length), not model.kind.is_decoder_only
    tokens = windows(model.tokenizer(), text, size, closed).numpy()
    info = RunInfo(model.source, " ".join(sys.argv), tuple(absent))
    card = score_contenders(contenders, Evaluation.of_text(tokens), section.settings, info=info)
    graphs = [contender for contender in contenders if (contender.path / MODEL_FILE).is_file()]
    return _with_exports(card, {contender.name: node_count(contender.path) for contender in graphs}, seconds)


def _write_calibration(folder: Path) -> Path:
    file = folder / "wikipedia-first-two-thirds.txt"
    file.write_text(calibration_text(), encoding="utf-8")
    return file


def node_count(artifact: Path) -> int:
    """Number of operators in an artifact's graph."""
    return len(onnx.load(artifact / MODEL_FILE, load_external_data=False).graph.node)


def _with_exports(card: Scorecard, nodes: Mapping[str, int], seconds: float) -> Scorecard:
    """Add figures of the exports to a card: seconds of the float one, operators of all, bits of files a weight."""
    weights = card.original.parameters
    extra = {row.name: {FILE_BITS: Measure(value=8 * row.measures["disk_bytes"].value / weights)} for row in card.rows}
    for name, count in nodes.items():
        extra[name]["nodes"] = Measure(value=count)
    extra[FLOAT]["export_s"] = Measure(value=seconds)
    rows = [row.model_copy(update={"measures": row.measures | extra[row.name]}) for row in card.rows]
    return card.model_copy(update={"rows": tuple(rows)})


def _build(
    source: str,
    names: Sequence[str],
    out: Path,
    scratch: Path,
    calibration: tuple[int, int] | None,
    targets: Sequence[str] = (MAIN_TARGET,),
) -> None:
    """Build variants with the command line."""
    command = python_command("compress", source, "--no-score", "-o", out, "--target", ",".join(targets))
    if calibration is not None:
        samples, length = map(str, calibration)
        command += ["--calibration", str(_write_calibration(scratch)), "--samples", samples, "--length", length]
    for pipeline in names:
        command += ["-p", pipeline]
    run_process(command, f"compress {source}", capture=False)


def _show(card: Scorecard) -> None:
    headers, rows = comparison_table(card)
    lines = [headers, *(line for row in rows for line in _text_lines(row))]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headers))]
    for first, *rest in lines:
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *cells]))
    for line in [*findings(card), *card.notes]:
        print(f"! {line}")


def _text_lines(row: TableRow) -> list[list[str]]:
    """A row as lines of text: its figures, and below them their ratios."""
    columns = [[row.heading], *(cell.lines for cell in row.cells)]
    return [list(line) for line in zip_longest(*columns, fillvalue="")]


def _part(
    name: str, evaluation: Path | None, out: Path | None, variants: Path | None, only: Sequence[str], times: int | None
) -> list[GoalResult]:
    """Measure one part, print it, and write its report."""
    with tempfile.TemporaryDirectory(prefix="compress-bench-") as scratch:
        if name == DEPTH:
            text = _write_calibration(Path(scratch))
            costs = depth.measure_costs(Model.open(f"demo:{OFFGRID}"), GPTQ, text, *CALIBRATION, Path(scratch))
            print("\n".join(depth.cost_lines(costs)))
            return figure_results(DEPTH, depth.cost_figures(costs))
        if name == REPEAT:
            return _repeated(Path(scratch), variants, times or repeat.TIMES)
        if name == HONESTY:
            return _honest(Path(scratch), times or honesty.TIMES)
        card = bench(name, evaluation, Path(scratch), variants, only)
    _show(card)
    if out is not None:
        (out / name).mkdir(parents=True, exist_ok=True)
        report.write([card], out / name)
    return goal_results(name, card)


def _repeated(scratch: Path, variants: Path | None, times: int) -> list[GoalResult]:
    """Score the variant of the repeatability goals repeatedly."""
    (pipeline,) = pipelines(REPEAT)
    folder = scratch if variants is None else variants / REPEATED
    variant = folder / Pipeline.parse(pipeline).slug
    if not variant.exists():
        _build(f"demo:{REPEATED}", [pipeline], folder, scratch, None)
    repeats = repeat.measure_repeats(variant, scratch, times)
    print("\n".join(repeat.repeat_lines(repeats)))
    return figure_results(REPEAT, repeat.repeat_figures(repeats))


def _honest(scratch: Path, times: int) -> list[GoalResult]:
    """Score an artifact beside itself and beside one of a model with a layer less, and simulate."""
    (pipeline,) = pipelines(HONESTY)
    model = Model.open(f"demo:{REPEATED}")
    shorter = depth.truncated(model, model.config.num_hidden_layers - 1, scratch / "shorter")
    outs = scratch / "full", scratch / "less"
    for source, out in zip((model.source, str(shorter)), outs, strict=True):
        _build(source, [pipeline], out, scratch, None)
    full, less = (out / Pipeline.parse(pipeline).slug / FOLDER for out in outs)
    evaluation = Evaluation.of_text(windows(model.tokenizer(), evaluation_text(), WindowSize(2, 512), False).numpy())
    coverages = honesty.simulated_coverages()
    print("coverage of simulated intervals: " + ", ".join(f"{share:.1%}" for share in coverages))
    print("same again / first         a layer less / first     (95 % intervals; *: called different)")
    scorings = honesty.measure_scorings(full, less, evaluation, scratch, times)
    return figure_results(HONESTY, honesty.honesty_figures(scorings, coverages))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; return 1 where a goal is missed, 5 where none is but one can't be measured here."""
    parts = [*SECTIONS, DEPTH, REPEAT, HONESTY]
    parser = argparse.ArgumentParser(prog="python -m compress.benchmarks.project.bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=parts, help="one part; may be given again  [default: all]")
    parser.add_argument("--eval", type=Path, help="text or JSON lines to measure accuracy on")
    parser.add_argument("--out", type=Path, help="keep the reports here, one JSON and Markdown file a model")
    parser.add_argument("--variants", type=Path, help="keep the variants here, and use again those that are here")
    parser.add_argument(
        "--variant", action="append", default=[], help="one pipeline; may be given again  [default: all]"
    )
    parser.add_argument("--times", type=int, help="scores that parts repeat and honesty take  [default: 10 and 20]")
    options = parser.parse_args(arguments)
    verdicts: list[GoalResult] = []
    try:
        for name in options.only or parts:
            results = _part(name, options.eval, options.out, options.variants, options.variant, options.times)
            print("\n".join(result_lines(results)), flush=True)
            verdicts += results
    except CompressError as error:
        print(f"bench: {error}", file=sys.stderr)
        return error.exit_code
    missed = sum(verdict.missed for verdict in verdicts)
    unknown = sum(verdict.value is None for verdict in verdicts)
    for count, outcome in ((missed, "missed"), (unknown, "not measured")):
        if count:
            print(f"bench: {count} goals {outcome}", file=sys.stderr)
    if missed:
        return RequirementError.exit_code
    return MissingComponentError.exit_code if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
