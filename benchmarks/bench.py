"""``make bench``: the goals of this project on its demo models, measured in one interleaved run each."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx

from compress.artifact import FOLDER, Artifact
from compress.benchmarks import report
from compress.benchmarks.contender import Contender
from compress.benchmarks.findings import findings
from compress.benchmarks.goals import FLOAT, ORIGINAL, Verdict, judge, pipelines, verdict_lines
from compress.benchmarks.score import score
from compress.benchmarks.scorecard import EVALUATION_WINDOWS, Measure, Scorecard
from compress.demo import evaluation_text
from compress.errors import CompressError, MissingComponentError, RequirementError, RunError
from compress.export.target import find_target
from compress.manifest import Manifest
from compress.model import Model
from compress.progress import Silent
from compress.text import read_text, windows

MODELS = ("smollm2", "minilm")


def bench(name: str, evaluation: Path | None, folder: Path) -> Scorecard:
    """Build every variant that a demo model's goals speak of, in ``folder``, and score them together."""
    model = Model.open(f"demo:{name}")
    wanted = pipelines(name)
    _build(model.source, wanted, folder)
    plain = folder / ".float"
    plain.mkdir()
    begin = time.perf_counter()
    baseline = find_target("ort-cpu").export(model, (), plain, Silent())
    seconds = time.perf_counter() - begin
    contenders = [
        Contender.of_checkpoint(model, model.parameters, ORIGINAL),
        Contender.of_artifact(baseline, FLOAT, "float32, standard operators", "float"),
        *(_variant(folder, pipeline) for pipeline in wanted),
    ]
    text = evaluation_text() if evaluation is None else read_text(evaluation)
    if text is None:
        raise MissingComponentError(
            "there is no demo text: pip install 'compress-models[demo]', or name one with --eval"
        )
    count, length = EVALUATION_WINDOWS[model.kind]
    tokens = windows(model.tokenizer(), text, length, count).numpy()
    card = score(contenders, tokens, model=model.source, command=" ".join(sys.argv))
    nodes = {contender.name: node_count(contender.path) for contender in contenders[1:]}
    return _with_exports(card, nodes, seconds)


def node_count(artifact: Path) -> int:
    """Operators in an artifact's graph."""
    return len(onnx.load(artifact / "model.onnx", load_external_data=False).graph.node)


def _with_exports(card: Scorecard, nodes: Mapping[str, int], seconds: float) -> Scorecard:
    """The card with what is known of the exports: the seconds of the float one, everyone's operators."""
    extra = {name: {"nodes": Measure(value=count)} for name, count in nodes.items()}
    extra[FLOAT]["export_s"] = Measure(value=seconds)
    rows = [row.model_copy(update={"measures": row.measures | extra.get(row.name, {})}) for row in card.rows]
    return card.model_copy(update={"rows": tuple(rows)})


def _build(source: str, wanted: Sequence[str], folder: Path) -> None:
    """Make the variants as a user does."""
    command = [sys.executable, "-m", "compress", source, "--no-score", "-o", str(folder)]
    for pipeline in wanted:
        command += ["-p", pipeline]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise RunError(f"compress {source} ended with {done.returncode}: {last}")


def _variant(folder: Path, pipeline: str) -> Contender:
    for directory in sorted(folder.iterdir()):
        if (directory / "compress.json").is_file() and Manifest.read(directory).pipeline == pipeline:
            return Contender.of_artifact(Artifact.open(directory / FOLDER), pipeline, pipeline)
    raise RunError(f"no variant of {pipeline} was made")


def _show(card: Scorecard, verdicts: Sequence[Verdict]) -> None:
    headers, rows = report.table(card)
    lines = [headers, *(line for row in rows for line in _split(row))]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headers))]
    for first, *rest in lines:
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *cells]))
    for finding in findings(card):
        print(f"! {finding}")
    print("\n".join(verdict_lines(verdicts)), flush=True)


def _split(row: list[str]) -> list[list[str]]:
    """A row whose cells have lines, as rows."""
    cells = [cell.split("\n") for cell in row]
    height = max(map(len, cells))
    return [[cell[i] if i < len(cell) else "" for cell in cells] for i in range(height)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and return 1 where a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m compress.benchmarks.bench", description=__doc__)
    parser.add_argument("--model", choices=[*MODELS, "all"], default="all")
    parser.add_argument("--eval", type=Path, help="text or JSON lines to measure accuracy on")
    parser.add_argument("--out", type=Path, help="keep the reports here, one JSON and Markdown file a model")
    options = parser.parse_args(arguments)
    missed = 0
    try:
        for name in MODELS if options.model == "all" else (options.model,):
            with tempfile.TemporaryDirectory(prefix="compress-bench-") as folder:
                card = bench(name, options.eval, Path(folder))
            verdicts = judge(name, card)
            _show(card, verdicts)
            missed += sum(not verdict.met for verdict in verdicts)
            if options.out is not None:
                (options.out / name).mkdir(parents=True, exist_ok=True)
                report.write(card, options.out / name)
    except CompressError as error:
        print(f"bench: {error}", file=sys.stderr)
        return error.exit_code
    if missed:
        print(f"bench: {missed} goals missed", file=sys.stderr)
    return RequirementError.exit_code if missed else 0


if __name__ == "__main__":
    sys.exit(main())
