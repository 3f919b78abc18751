"""Cost of compressing: wall time and peak memory of making one variant in a fresh process.

Counted is all that the process does: starting, reading the model, tokenizing the text, calibrating, solving, writing
the variant's checkpoint. Not counted: exporting it, and proving the export equal to torch.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compress.system.process import python_command, run_process

if TYPE_CHECKING:
    from compress.pipeline.parse import Pipeline


@dataclass(frozen=True)
class Cost:
    """Seconds of the whole process, and its peak resident bytes."""

    seconds: float
    peak_rss: int


def cost(model: Path, pipeline: str, calibration: Path, samples: int, length: int) -> Cost:
    """Measure compressing a checkpoint once, calibrated on windows of a text."""
    with tempfile.TemporaryDirectory(prefix="compress-cost-") as out:
        arguments = (model, pipeline, calibration, samples, length, out)
        command = python_command("compress.benchmarks.project.cost", *arguments)
        begin = time.perf_counter()
        output = run_process(command, f"compressing {model} with {pipeline}")
        seconds = time.perf_counter() - begin
    return Cost(seconds, int(output.split()[-1]))


def main() -> None:
    """Make the variant, then print this process's peak memory; what is no pipeline is refused before any loading."""
    from compress.benchmarks.worker.memory import peak_rss
    from compress.pipeline.parse import Pipeline

    source, passes, text, samples, length, out = sys.argv[1:]
    _compress(source, Pipeline.parse(passes), text, int(samples), int(length), Path(out))
    print(peak_rss())


def _compress(source: str, pipeline: Pipeline, text: str, samples: int, length: int, out: Path) -> None:
    from compress.calibration.data import Calibration
    from compress.checkpoint.model import Model
    from compress.corpus.source import read_text
    from compress.corpus.windows import WindowSize, windows
    from compress.pipeline.contract import TargetCapability
    from compress.pipeline.run import run_pipeline
    from compress.progress import Silent
    from compress.weights.forms import Dense, Quantized

    model = Model.open(source)

    def calibration() -> Calibration:
        return Calibration(windows(model.tokenizer(), read_text(text), WindowSize(samples, length)), text)

    # What ort-cpu can hold, without loading that runtime, which compressing has no use for.
    target = TargetCapability("ort-cpu", (Dense, Quantized), frozenset({2, 4, 8}))
    run_pipeline(model, pipeline, target, out, calibration, 0, Silent())


if __name__ == "__main__":
    main()
